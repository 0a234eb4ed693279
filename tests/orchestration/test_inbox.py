"""The inbox: a plain file name inside it, and nothing else."""

from __future__ import annotations

import pytest

from candlevault.errors import InvalidRequest
from candlevault.orchestration import inbox


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "inbox"
    folder.mkdir()
    (tmp_path / "secret.csv").write_bytes(b"secret")
    monkeypatch.setenv("CANDLEVAULT_INBOX", str(folder))
    return folder


def test_a_file_of_the_inbox_is_read(folder):
    (folder / "fix-1.csv").write_bytes(b"open_time\n")
    assert inbox.read("fix-1.csv") == b"open_time\n"


@pytest.mark.parametrize(
    "name",
    ["../secret.csv", "..", ".", ".hidden", "/etc/passwd", "a/b.csv", "a\\b.csv", "", "a\0.csv",
     "a.csv\n", "naïve.csv", "x" * 101],
)  # fmt: skip
def test_a_name_that_is_no_plain_file_name_is_refused(folder, name):
    with pytest.raises(InvalidRequest, match="file: must be a plain file name"):
        inbox.read(name)


def test_a_link_out_of_the_inbox_is_not_followed(folder):
    (folder / "link.csv").symlink_to(folder.parent / "secret.csv")
    with pytest.raises(InvalidRequest, match="file: there is no such file"):
        inbox.read("link.csv")


def test_what_is_no_file_is_not_there(folder):
    (folder / "folder.csv").mkdir()
    for name in ("folder.csv", "nothing.csv"):
        with pytest.raises(InvalidRequest, match="file: there is no such file"):
            inbox.read(name)


def test_a_file_that_is_too_large_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(inbox, "MAX_BYTES", 4)
    (folder / "large.csv").write_bytes(b"12345")
    with pytest.raises(InvalidRequest, match="is larger than 4 bytes"):
        inbox.read("large.csv")
