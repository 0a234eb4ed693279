"""What qlib reads after its own dump_bin has taken the CSV files. Runs in qlib's Python.

Arguments: dump_bin.py, folder with CSV files, folder for qlib's files, frequency, instrument.
"""

from __future__ import annotations

import json
import subprocess
import sys

import qlib
from qlib.data import D

NAMES = ["open", "high", "low", "close", "volume", "factor"]


def main(script: str, source: str, target: str, frequency: str, instrument: str) -> None:
    dump = {
        "--data_path": source,
        "--qlib_dir": target,
        "--freq": frequency,
        "--date_field_name": "date",
        "--symbol_field_name": "symbol",
        "--exclude_fields": "symbol,date",
        "--max_workers": "1",
    }
    flags = [part for pair in dump.items() for part in pair]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([sys.executable, script, "dump_all", *flags], check=True, **quiet)
    qlib.init(provider_uri=target, kernels=1, logging_level="ERROR")
    df = D.features([instrument], [f"${name}" for name in NAMES], freq=frequency)
    told = {
        "version": qlib.__version__,
        "instruments": D.list_instruments(D.instruments("all"), freq=frequency, as_list=True),
        "rows": [
            [moment.isoformat(), *map(float, values)]
            for (_, moment), values in zip(df.index, df.to_numpy(), strict=True)
        ],
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
