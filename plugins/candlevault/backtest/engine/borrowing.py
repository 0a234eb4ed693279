"""Arrays without reference counts inside compiled code.

numba counts references to an array atomically wherever it is passed on or taken out of a
tuple. In a loop that passes ten arrays to small functions the counting costs more than the
work.
"""

from __future__ import annotations

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def borrowed(typing_context, value):
    """The same array, or tuple of arrays, uncounted.

    Whoever calls the compiled function must hold the arrays for as long as it runs.
    """

    def uncounted(context, builder, kind, given):
        if isinstance(kind, types.Array):
            view = context.make_array(kind)(context, builder, given)
            view.meminfo = cgutils.get_null_value(view.meminfo.type)
            view.parent = cgutils.get_null_value(view.parent.type)
            return view._getvalue()
        parts = zip(kind.types, cgutils.unpack_tuple(builder, given), strict=True)
        return context.make_tuple(
            builder, kind, [uncounted(context, builder, *part) for part in parts]
        )

    def generate(context, builder, signature, arguments):
        return uncounted(context, builder, signature.return_type, arguments[0])

    return value(value), generate
