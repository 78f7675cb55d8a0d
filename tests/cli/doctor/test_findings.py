"""Tests of torpydo.cli.doctor.findings."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from torpydo.cli.doctor.findings import NETWORK, STATE, Findings


class FindingsTests(SynchronousTestCase):
    """What is printed, and how the command ends."""

    def setUp(self) -> None:
        self.findings = Findings()

    def test_for_people(self) -> None:
        """A line for each thing, two more where something is to be done, and the sum."""
        self.findings.ok("clock", "it is right")
        self.findings.warn("disk", "it is small", "a small disk", "a larger one")
        self.findings.problem("pool a:1", "it is down", "a storm", "patience")
        self.assertEqual(list(self.findings.lines()), [
            "ok       clock: it is right",
            "warning  disk: it is small", "         cause: a small disk", "         what helps: a larger one",
            "problem  pool a:1: it is down", "         cause: a storm", "         what helps: patience",
            "1 ok, 1 warning, 1 problem",
        ])  # fmt: skip

    def test_names_that_strangers_choose(self) -> None:
        """No terminal obeys them."""
        self.findings.problem("pool", "\x1b[2Jgone\n", "\x07", "x")
        self.assertEqual(list(self.findings.lines())[:2], ["problem  pool: ?[2Jgone?", "         cause: ?"])

    def test_for_programs(self) -> None:
        """The same as JSON, with the exit status."""
        self.findings.ok("clock", "it is right")
        self.findings.problem("pool", "it is down", "a storm", "patience")
        self.assertEqual(json.loads(self.findings.to_json()), {"status": 3, "findings": [
            {"verdict": "ok", "subject": "clock", "what": "it is right", "cause": "", "remedy": ""},
            {"verdict": "problem", "subject": "pool", "what": "it is down", "cause": "a storm", "remedy": "patience"},
        ]})  # fmt: skip

    def test_what_is_for_the_user_alone(self) -> None:
        """The user reads it, and a report that is sent to others says something else."""
        self.findings.warn("status", "guard bravo loses circuits", "x", "y", public="it warns")
        self.findings.problem("status", "hop 1, node bravo: no answer", "x", "y", public="it is not ready")
        self.assertEqual("\n".join(self.findings.lines()).count("bravo"), 2)
        rows = json.loads(self.findings.to_json())["findings"]
        self.assertEqual([row["what"] for row in rows], ["it warns", "it is not ready"])
        self.assertEqual(set(rows[0]), {"verdict", "subject", "what", "cause", "remedy"})

    def test_exit_status(self) -> None:
        """0 while there are warnings only; what is wrong here comes before what is wrong elsewhere (SECURITY Z3)."""
        self.findings.warn("disk", "", "", "")
        self.assertEqual(self.findings.status, 0)
        self.findings.problem("pool", "", "", "", status=NETWORK)
        self.assertEqual(self.findings.status, 3)
        self.findings.problem("state", "", "", "", status=STATE)
        self.findings.problem("pool", "", "", "", status=NETWORK)
        self.assertEqual(self.findings.status, 4)
