"""How the numba kernels are compiled, and how operations written in LLVM code are put at their disposal.

`kernel(...)` is the only decorator in use: it compiles at import, keeps the machine code on disk for the next process
and releases the interpreter's lock while the code runs.  `operation(...)` makes a function that kernels can call out of
LLVM code on pointers to rows of arrays; `numba_field.py` and `numba_lanes.py` define the arithmetic with it.
Nothing here or there checks an index: the kernels own the bounds.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import config
from numba.extending import intrinsic
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]
Function = TypeVar("Function", bound=Callable[..., Any])

IN = types.Array(types.uint64, 2, "C", readonly=True)
"""Rows that a kernel only reads; writeable arrays are accepted too."""
OUT = types.Array(types.uint64, 2, "C")
INDEX = types.int64
NONE = types.void

WORD = ir.IntType(64)
_BYTE_POINTER = ir.IntType(8).as_pointer()


LANES_VARIABLE = "MARGINSEAL_LANES"
"""Environment: 1 keeps to plain 64-bit arithmetic on a processor that could do 8 lanes (`numba_lanes.py`)."""


def _can_do_eight() -> bool:
    other_target = config.CPU_NAME or config.CPU_FEATURES or not config.ENABLE_AVX  # type: ignore[attr-defined]
    return not other_target and bool(binding.get_host_cpu_features().get("avx512ifma"))


LANES = 8 if os.environ.get(LANES_VARIABLE, "") != "1" and _can_do_eight() else 1
"""Elements of the base field that are worked on at once."""


def _variant() -> str:
    """numba renews machine code on disk when the file of a kernel changes or the processor does, not when a file that
    the kernel calls into changes, nor with the environment; so the names of kernels carry a digest of all that."""
    here = Path(__file__).parent
    sources = sorted(here.glob("numba_*.py")) + sorted(here.glob("*_numba.py"))
    return f"{hashlib.sha256(b''.join(path.read_bytes() for path in sources)).hexdigest()[:12]}_{LANES}"


_VARIANT = _variant()


def kernel(result: Any, *arguments: Any) -> Callable[[Function], Function]:
    """Compile now, for exactly these types; no interpreter lock inside; machine code from and to the disk cache.

    numba keeps the cache beside the source or, where that cannot be written, in the user's cache directory; where
    neither can be, the code is compiled afresh in every process."""

    def decorate(function: Function) -> Function:
        function.__qualname__ = f"{function.__name__}_{_VARIANT}"
        signature = result(*arguments)
        try:
            compiled = numba.njit(signature, nogil=True, cache=True, error_model="numpy")(function)
        except RuntimeError:  # no directory to keep a cache in
            compiled = numba.njit(signature, nogil=True, error_model="numpy")(function)
        return cast(Function, compiled)

    return decorate


def helper(function: Function) -> Function:
    """A function for kernels to call: compiled into each of them."""
    return cast(Function, numba.njit(nogil=True, error_model="numpy")(function))


Emit: TypeAlias = Callable[[Any, list[Any]], Any]
"""Writes the body of a function into a builder, given the arguments; returns the LLVM value to return, or None."""


def operation(name: str, emit: Emit, *, rows: int, scalars: int = 0, returns: bool = False) -> Any:
    """What kernels call as name(array_1, row_1, ..., array_rows, row_rows, scalar_1, ..., scalar_scalars).

    `emit` sees a byte pointer for each (array, row) and an i64 for each scalar; the result is an i64 or nothing.  The
    code becomes one function in each module that uses it."""
    symbol = f"marginseal_{name}_{_VARIANT}"
    result = WORD if returns else ir.VoidType()

    def define(module: Any) -> Any:
        if symbol in module.globals:
            return module.globals[symbol]
        arguments = [_BYTE_POINTER] * rows + [WORD] * scalars
        function = ir.Function(module, ir.FunctionType(result, arguments), symbol)
        function.linkage = "linkonce_odr"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        builder = ir.IRBuilder(function.append_basic_block())
        value = emit(builder, list(function.args))
        if returns:
            builder.ret(value)
        else:
            builder.ret_void()
        return function

    def typing(_: Any, *arguments: Any) -> Any:
        places = [kind for array in arguments[: 2 * rows : 2] for kind in (array, types.intp)]
        signature = (types.int64 if returns else types.void)(*places, *[types.int64] * scalars)

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointers = []
            for kind, value, row in zip(
                signature.args[: 2 * rows : 2], values[: 2 * rows : 2], values[1 : 2 * rows : 2], strict=True
            ):
                array = context.make_array(kind)(context, builder, value)
                stride = builder.extract_value(array.strides, 0)
                start = builder.bitcast(array.data, _BYTE_POINTER)
                pointers.append(builder.gep(start, [builder.mul(row, stride)]))
            called = builder.call(define(builder.module), pointers + list(values[2 * rows :]))
            return called if returns else context.get_dummy_value()

        return signature, code

    # numba reads the number of arguments off the signature, and takes no starred ones.
    names = ["context", *[f"{part}_{k}" for k in range(rows) for part in ("array", "row")]]
    names += [f"scalar_{k}" for k in range(scalars)]
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    typing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return intrinsic(typing)


def words_at(builder: Any, pointer: Any, kind: Any = WORD) -> Callable[[int], Any]:
    """Pointers to the k-th value of some LLVM type from a byte pointer."""
    base = builder.bitcast(pointer, kind.as_pointer())
    return lambda k: builder.gep(base, [ir.Constant(WORD, k)])
