"""``python -m torpydo.testing.fuzz``: run entry points with atheris, run saved inputs again, write the seeds."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from torpydo.testing.fuzz import TARGETS
from torpydo.testing.fuzz.campaign import Outcome, Plan, heading, line, run_all
from torpydo.testing.fuzz.corpus import CORPUS, keep

__all__ = ["main"]

FINDINGS = Path("fuzz-findings")
INTERRUPTED = 130


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m torpydo.testing.fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an entry point (default: all)")
    parser.add_argument("--runs", type=int, default=1_000_000, metavar="N", help="executions of each (default: 10^6)")
    parser.add_argument("--jobs", type=int, default=2, choices=(1, 2), help="processes at a time (default: 2)")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="let the corpora grow here, and keep them")
    parser.add_argument(
        "--findings", type=Path, default=FINDINGS, metavar="DIR", help="save inputs here that show a mistake"
    )
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="run saved inputs of the one NAME again")
    parser.add_argument("--seeds", action="store_true", help=f"write the seeds to {CORPUS}")
    parser.add_argument("--list", action="store_true", help="list the entry points")
    return parser


def _write_seeds(names: Sequence[str]) -> int:
    for name in names:
        for path in keep(CORPUS / name, TARGETS[name].seeds()):
            print(f"new: {path}")
    return 0


def _replay(name: str, files: Sequence[Path]) -> int:
    """A finding comes out as the exception that it is."""
    for path in files:
        TARGETS[name].run(path.read_bytes())
        print(f"{path}: nothing found")
    return 0


def _list() -> int:
    for name, target in TARGETS.items():
        words = (target.run.__doc__ or "").split("\n\n")[0]
        print(f"{name:26} {' '.join(words.split())}")
    return 0


def _fuzz(plan: Plan) -> int:
    found: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        print(line(outcome), flush=True)
        if outcome.is_good:
            return
        found.append(outcome)
        print("\n".join(f"    {words}" for words in outcome.words.splitlines()))
        if outcome.finding is not None:
            replay = f"{sys.executable} -m torpydo.testing.fuzz {outcome.target.name} --replay {outcome.finding}"
            print(f"  run it again with: {replay}", flush=True)

    print(heading(), flush=True)
    run_all(plan, tell)
    print(f"{len(found)} of {len(plan.targets)} entry points have findings")
    return 1 if found else 0


def _interrupt(*ignored: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; gives the exit status: 1 if something was found."""
    parser = _arguments()
    options = parser.parse_args(argv)
    names = options.names or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"there is no entry point {unknown[0]}; --list shows all")
    if options.list:
        return _list()
    if options.seeds:
        return _write_seeds(names)
    if options.replay:
        if len(names) != 1:
            parser.error("--replay needs the name of the entry point")
        return _replay(names[0], options.replay)
    if find_spec("atheris") is None:
        parser.error("fuzzing needs atheris, which is not installed; install it with: pip install 'torpydo[fuzz]'")
    targets = [TARGETS[name] for name in names]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with TemporaryDirectory(prefix="torpydo-fuzz-") as temporary:
            scratch = options.scratch or Path(temporary)
            return _fuzz(Plan(targets, options.runs, options.jobs, scratch, options.findings))
    except KeyboardInterrupt:
        print("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
