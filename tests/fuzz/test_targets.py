"""Every entry point for a fuzzer, with a few inputs each and with all that are kept (SECURITY V1).

``make fuzz`` runs the same entry points with millions of inputs. Whatever that finds is a file below ``corpus``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from torpydo.crypto import SIGNATURE_SIZE
from torpydo.directory import sign_listing
from torpydo.testing import strategies
from torpydo.testing.fuzz import TARGETS, Target
from torpydo.testing.fuzz.corpus import CORPUS, input_name, load
from torpydo.testing.fuzz.fixed import POOL
from torpydo.tpdp.messages import encode_begin

EXAMPLES = 40
"""Inputs of each entry point in one run of the tests."""
MOST_BYTES = 200 * 1024
MOST_FILE = 4096


def texts(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Values as they are written."""
    return values.map(lambda value: str(value).encode())


def spoiled(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Valid bytes, most of them altered."""
    return st.one_of(valid, valid.flatmap(lambda data: strategies.altered([data])))


# Valid inputs that no seed is like.
VALID: Mapping[str, st.SearchStrategy[bytes]] = {
    "text-address": texts(strategies.addresses()),
    "text-key": texts(strategies.node_ids()),
    "text-pool-url": texts(strategies.pool_urls()),
    "text-policy": texts(strategies.exit_policies()),
    "text-destination": texts(strategies.hosts()),
    "message-begin": st.builds(encode_begin, strategies.hosts(), strategies.ports()),
    "document-descriptor": strategies.signed_descriptors().map(lambda made: made[1]),
    "document-listing": strategies.listings(POOL.pool_id).map(lambda one: sign_listing(one, POOL)[SIGNATURE_SIZE:]),
}


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Inputs for an entry point: any bytes, and altered ones of those that are kept."""
    kept = load(target) or list(target.seeds())
    found = st.one_of(st.binary(max_size=64), *[strategies.altered(kept)] * 3)
    valid = VALID.get(target.name)
    return (found if valid is None else st.one_of(found, spoiled(valid))).map(lambda data: data[: target.longest])


def of_each_target(make: Callable[[Target], Any]) -> Callable[[type], type]:
    """Give a class a test for each entry point."""

    def add(tests: type) -> type:
        for target in TARGETS.values():
            test = make(target)
            test.__name__ = f"test_{target.name.replace('-', '_')}"
            setattr(tests, test.__name__, test)
        return tests

    return add


def with_hypothesis(target: Target) -> Any:
    """A test that runs an entry point with what hypothesis draws."""

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(inputs(target))
    def test(self: SynchronousTestCase, data: bytes) -> None:
        target.run(data)

    test.__doc__ = f"{target.name}: nothing but the errors that are documented."
    return test


def with_corpus(target: Target) -> Any:
    """A test that runs an entry point with its corpus."""

    def test(self: SynchronousTestCase) -> None:
        for data in load(target):
            target.run(data)

    test.__doc__ = f"{target.name}: what was found once is not found again."
    return test


@of_each_target(with_hypothesis)
class HypothesisTests(SynchronousTestCase):
    """Inputs that hypothesis draws."""


@of_each_target(with_corpus)
class CorpusTests(SynchronousTestCase):
    """Inputs that are kept."""


class KeptTests(SynchronousTestCase):
    """The files."""

    def test_the_seeds_are_kept(self) -> None:
        """``python -m torpydo.testing.fuzz --seeds`` was run after the last change of a seed."""
        missing = [
            f"{target.name}/{input_name(seed)}"
            for target in TARGETS.values()
            for seed in target.seeds()
            if not (CORPUS / target.name / input_name(seed)).exists()
        ]
        self.assertEqual(missing, [])

    def test_seeds_are_worth_something(self) -> None:
        """Each entry point has some, and none is cut off."""
        for target in TARGETS.values():
            seeds = list(target.seeds())
            self.assertTrue(seeds, target.name)
            self.assertLessEqual(max(map(len, seeds)), target.longest, target.name)

    def test_files_are_named_after_their_bytes(self) -> None:
        """Twice the same is once, and a file that was edited is found out."""
        wrong = [
            str(path) for path in CORPUS.rglob("*") if path.is_file() and path.name != input_name(path.read_bytes())
        ]
        self.assertEqual(wrong, [])

    def test_every_directory_belongs_to_an_entry_point(self) -> None:
        """An entry point that gets another name takes its inputs along."""
        self.assertEqual({path.name for path in CORPUS.iterdir()} - set(TARGETS), set())

    def test_the_corpus_is_small(self) -> None:
        """It is read in every run of the tests."""
        sizes = {str(path): path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()}
        self.assertLessEqual(sum(sizes.values()), MOST_BYTES)
        self.assertEqual([path for path, size in sizes.items() if size > MOST_FILE], [])

    def test_every_entry_point_says_what_it_feeds(self) -> None:
        """``--list`` shows a sentence for each."""
        silent = [name for name, target in TARGETS.items() if not target.run.__doc__]
        self.assertEqual(silent, [])
