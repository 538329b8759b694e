"""Command-line entry point: every failure becomes one line and an exit status.

Exit status: 0 success; 1 an error that the user can correct (without a message if
standard output was closed); 2 a wrong command line; 70 a defect of ganvas; 75 a
run that is not complete (`ganvas status`); 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
import warnings
from types import TracebackType

from ganvas.core.errors import UserError, printable

DEFECT = 70  # EX_SOFTWARE of sysexits.h
OVERFLOWS = (  # messages of torch for sizes beyond 2^63 bytes
    "size calculation overflowed",
    "multiplication overflow",
)
FILES = 16  # least limit of open files; below it, imports fail as if modules were absent
SMALLER = {  # command -> how to use less memory
    "train": "a smaller --batch or --size, or --set micro=N (images per forward pass)",
    "resume": "--set micro=N (images per forward pass)",
    "bench": "a smaller --batch or --size",
    "translate": "--tile 256, or smaller images",
    "attention": "a smaller -n",
    "sample": "a smaller -n, or a folder as --out",
    "walk": "fewer --frames",
    "mix": "fewer --rows or --columns",
}


def main() -> None:
    """Run the command line and exit."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # None if closed; replaced by other programs
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings.showwarning = _show_warning
    # Threads of OpenMP that wait for others sleep: if they loop, and another process
    # keeps one core busy, a step takes several times as long (bench/busy_cores.py). The
    # variable is read when torch is imported.
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        status = _status()
    finally:
        _leave_group(wait=False)
    raise SystemExit(status)


def _status() -> int:
    """Run the command line, report a failure, and return the exit status."""
    try:
        _check_file_limit()
        if any(not a or (a[:2] == "--" and a[-1] == "=") for a in sys.argv[1:]):
            _report(
                "error: an argument is empty, as where a variable of the shell is not set; give . "
                "for this folder"
            )
            return 2
        from ganvas.apps.cli import app
        from ganvas.core.allocator import retain_heap

        retain_heap()
        status = app(prog_name="ganvas", standalone_mode=False) or 0
        if status == 130:  # typer's answer to Ctrl-C
            raise KeyboardInterrupt
        if sys.stdout is not None:
            sys.stdout.flush()
        if not status:
            _leave_group(wait=True)
        return status
    except SystemExit as e:
        if isinstance(e.code, str):
            _report(e.code)
            return 1
        return e.code or 0
    except KeyboardInterrupt:
        _report("stopped")
        return 130
    except BrokenPipeError:
        _discard_output()
        return 1
    except Exception as e:
        message, status = _explanation(e)
        if os.environ.get("GANVAS_TRACEBACK") and status == DEFECT:
            _report(*traceback.format_exc().splitlines())
        if isinstance(e, OSError):
            _discard_output()
        if message:
            _report(f"error: {message}")
        return status


def _leave_group(wait: bool) -> None:
    """Leave the process group of torchrun, if any. `wait`: for the other ranks."""
    if "ganvas.core.distributed" in sys.modules:
        sys.modules["ganvas.core.distributed"].destroy(wait)


def _explanation(e: Exception) -> tuple[str, int]:
    """The message of an exception in one line, and the exit status."""
    if isinstance(e, UserError):
        return str(e), 1
    if hasattr(
        e, "format_message"
    ):  # an error of the command line's parser, which has no public class
        return _usage(e)
    if isinstance(e, OSError) and e.errno is not None:
        return _of_system(e), 1
    command = next((a for a in sys.argv[1:] if not a.startswith("-")), "")
    text = (str(e).strip().splitlines() or [""])[0]
    if _is_out_of_memory(e):
        advice = SMALLER.get(command, "smaller or fewer images")
        return f"memory ran out ({text or type(e).__name__}). Try {advice}", 1
    settings = [
        s for s in ("--set", "--size", "--batch") if s in {a.partition("=")[0] for a in sys.argv}
    ]
    if settings and isinstance(e, ValueError | TypeError | RuntimeError | ArithmeticError):
        which = ", ".join(f"--set {a}" for a in _settings()) or " and ".join(settings)
        if _raised_in_torch(e.__traceback__):
            return f"torch does not accept these settings ({which}): {text}. Choose other values", 1
    return (
        f"{type(e).__name__}: {text}. This is a defect of ganvas: please report it with the "
        "traceback, which the same command prints with GANVAS_TRACEBACK=1 in the environment",
        DEFECT,
    )


def _usage(e: Exception) -> tuple[str, int]:
    """(message, status) of a wrong command line; "": the parser printed the help."""
    message = " ".join(e.format_message().split("\n"))  # type: ignore[attr-defined]
    context = getattr(e, "ctx", None)
    if message and context is not None:
        message += (
            "" if message.endswith(("?", ")", ".")) else "."
        ) + f" See: {context.command_path} --help"
    return message, getattr(e, "exit_code", 2)


def _of_system(e: OSError) -> str:
    if e.errno in (errno.EMFILE, errno.ENFILE):
        return (
            f"too many files are open at the same time{_limit()}. Raise the limit: ulimit -n 1024"
        )
    advice = {
        errno.ENOSPC: ". Free some space, or write to another disk",
        errno.EROFS: ". Write to another folder",
    }
    name = f"{os.fsdecode(e.filename)}: " if isinstance(e.filename, str | bytes) else ""
    return f"{name}{e.strerror}{advice.get(e.errno or 0, '')}"


def _is_out_of_memory(e: Exception) -> bool:
    if isinstance(e, MemoryError):
        return True
    if "torch" not in sys.modules:
        return False
    from ganvas.inference.tiling.ops import out_of_memory

    return out_of_memory(e) or any(s in str(e) for s in OVERFLOWS)


def _settings() -> list[str]:
    given = [b for a, b in zip(sys.argv, sys.argv[1:]) if a == "--set"]
    return given + [a.removeprefix("--set=") for a in sys.argv if a.startswith("--set=")]


def _raised_in_torch(trace: TracebackType | None) -> bool:
    frames = list(traceback.walk_tb(trace))
    return bool(frames) and frames[-1][0].f_globals.get("__name__", "").split(".")[0] == "torch"


def _check_file_limit() -> None:
    with contextlib.suppress(ImportError):  # Windows
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if 0 <= limit < FILES:
            raise UserError(
                f"this process may open only {limit} files at the same time; ganvas needs "
                f"{FILES} at least. Raise the limit: ulimit -n 1024"
            )


def _limit() -> str:
    with contextlib.suppress(ImportError):
        import resource

        return f" (the limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
    return ""


def _show_warning(
    message: Warning | str, category: type[Warning], *_: object, **__: object
) -> None:
    _report(f"warning: {message}")


def _report(*lines: str) -> None:
    """Print lines to standard error, without line breaks or control characters."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full, or absent
        for line in lines:
            print(printable(line), file=sys.stderr)
        sys.stderr.flush()


def _discard_output() -> None:
    """Redirect standard output to nowhere if its final flush cannot succeed."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stdout.fileno())
            os.close(null)


if __name__ == "__main__":
    main()
