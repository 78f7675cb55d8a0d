"""Tests of torpydo.node.introductions: who is introduced, who waits, who is refused."""

from __future__ import annotations

from tests.node.network import Traveller
from tests.node.onions import HELLO, KEY, SEED, Onions, solved
from torpydo.crypto import SigningKey
from torpydo.onion import Proof
from torpydo.testing import Conditions
from torpydo.tpdp import Introduce1, Introduce2, IntroduceStatus, MessageType

OTHER = SigningKey(b"o" * 32)
OK, UNKNOWN, TOO_MANY = IntroduceStatus


def hello(number: int) -> bytes:
    """A message of a client that nobody else sends."""
    return number.to_bytes(4, "big") * 128


class IntroductionTests(Onions):
    """ESTABLISH_INTRO and INTRODUCE1."""

    def test_an_introduction(self) -> None:
        """It comes to the service as it was sent, and the client is told."""
        service = self.introduced()
        self.assertEqual(self.said(service), [(MessageType.INTRO_ESTABLISHED, b"")])
        client = self.introduce(HELLO, Proof(7, b"n" * 16))
        self.assertIs(self.answer(client), OK)
        self.assertEqual(self.heard(service), [Introduce2(Proof(7, b"n" * 16), 0, HELLO)])

    def test_nobody_there(self) -> None:
        """A key that no service has proven, and one whose circuit is gone."""
        self.assertIs(self.answer(self.introduce()), UNKNOWN)
        self.introduced().destroy()
        self.assertIs(self.answer(self.introduce()), UNKNOWN)

    def test_a_proof_of_another_circuit(self) -> None:
        """What a service has proven on one circuit proves nothing on another: that one is destroyed (SECURITY O8)."""
        first, second = self.circuit(1), self.circuit(2)
        first.circuit.establish_intro(KEY)
        control = first.circuit.end._control[-1]
        self.say(second, MessageType.ESTABLISH_INTRO, control[7:])
        self.assertTrue(second.destroyed)
        self.assertEqual(self.point.refused(), {"circuits_broken": 1})

    def test_a_service_moves(self) -> None:
        """The same key on another circuit: the new one counts, the old one is destroyed."""
        old, new = self.introduced(), self.introduced()
        self.assertTrue(old.destroyed)
        self.introduce()
        self.assertEqual(len(self.heard(new)), 1)
        self.assertEqual(self.point.refused(), {"introduction_replaced": 1})

    def test_too_many_services(self) -> None:
        """One too many is destroyed, whatever it has said besides; the others stay."""
        self.point.restrict(introduction_points=2)
        services = [self.introduced(SigningKey(bytes([number]) * 32)) for number in range(2)]
        third = self.circuit(1)
        third.circuit.establish_intro(KEY)
        third.circuit.end.say(MessageType.INTRO_PUZZLE, SEED)
        third.send()
        self.assertEqual([service.destroyed for service in [*services, third]], [False, False, True])
        self.assertEqual(self.point.refused(), {"introduction_points": 1})


class Floods(Onions):
    """One service gets one introduction a second here, and two wait."""

    def setUp(self) -> None:
        super().setUp()
        self.point.restrict(introductions_per_second=1.0, introductions_burst=1, introductions_waiting=2)
        self.introductions = self.point.router._onions._introductions
        self.service = self.introduced(seed=SEED)
        self.assertIs(self.answer(self.introduce(hello(0))), OK)

    def answers(self, clients: list[Traveller]) -> list[IntroduceStatus | None]:
        return [self.answer(client) for client in clients]

    def turns(self, clients: list[Traveller], seconds: int = 4) -> list[int]:
        """Which of the clients are introduced in the next seconds, in order."""
        before, turns = set[int](), []
        for _ in range(seconds):
            now = {number for number, client in enumerate(clients) if self.answer(client) is OK}
            turns += sorted(now - before)
            before = now
            self.world.reactor.advance(1.0)
        return turns


class WaitingTests(Floods):
    """What is too much for now."""

    def test_the_last_one_first(self) -> None:
        """Those who came last are passed on, one a second; the older ones are refused, which the service is told."""
        clients = [self.introduce(hello(number)) for number in range(1, 6)]
        self.assertEqual(self.answers(clients), [TOO_MANY] * 3 + [None] * 2)
        self.assertEqual(self.point.refused(), {"introductions_too_fast": 3})
        self.world.reactor.advance(1.0)
        self.assertEqual(self.answers(clients), [TOO_MANY] * 3 + [None, OK])
        self.world.reactor.advance(1.0)
        self.assertEqual(self.answers(clients), [TOO_MANY] * 3 + [OK] * 2)
        heard = [(one.message, one.refused) for one in self.heard(self.service)]
        self.assertEqual(heard, [(hello(0), 0), (hello(5), 1), (hello(4), 0)])

    def test_another_service(self) -> None:
        """It is not touched by that (SECURITY O5)."""
        for number in range(8):
            self.introduce(hello(number))
        other = self.introduced(OTHER)
        self.assertIs(self.answer(self.introduce(key=OTHER)), OK)
        self.assertEqual(len(self.heard(other)), 1)

    def test_too_late(self) -> None:
        """Who has waited for two seconds and a half is refused: it can try another point yet."""
        self.point.restrict(introductions_per_second=1.0, introductions_waiting=10, introductions_burst=1)
        service = self.introduced(OTHER)
        clients = [self.introduce(hello(number), key=OTHER) for number in range(6)]
        self.world.reactor.advance(2.4)
        self.assertEqual(self.answers(clients), [OK] + [None] * 3 + [OK] * 2)
        self.world.reactor.advance(0.7)
        self.assertEqual(self.answers(clients), [OK] + [TOO_MANY] * 3 + [OK] * 2)
        self.introduce(hello(7), key=OTHER)
        self.world.reactor.advance(1.0)
        self.assertEqual([one.refused for one in self.heard(service)], [0, 0, 0, 1])

    def test_a_client_leaves(self) -> None:
        """It takes nobody's turn, and no timer is left behind."""
        clients = [self.introduce(hello(number)) for number in (1, 2)]
        clients[1].destroy()
        self.world.reactor.advance(1.0)
        self.assertIs(self.answer(clients[0]), OK)
        last = self.introduce(hello(3))
        self.assertIsNone(self.answer(last))
        last.destroy()
        self.assertIsNone(self.introductions._points[KEY.public].timer)

    def test_the_service_leaves(self) -> None:
        """All who wait are told that there is none."""
        clients = [self.introduce(hello(number)) for number in (1, 2)]
        point = self.introductions._points[KEY.public]
        self.assertIsNotNone(point.timer)
        self.service.destroy()
        self.assertEqual(self.answers(clients), [UNKNOWN] * 2)
        self.assertIsNone(point.timer)
        self.world.reactor.advance(5.0)
        self.assertEqual(self.answers(clients), [UNKNOWN] * 2)

    def test_the_service_moves(self) -> None:
        """Who waits is passed on where it is now; what it may have, its puzzle, and what has counted, are the same."""
        replayed = solved(9, hello(9))
        self.introduce(hello(9), replayed)
        self.world.reactor.advance(1.0)
        clients = [self.introduce(hello(number)) for number in (1, 2)]
        new = self.introduced()
        clients += [self.introduce(hello(3), solved(9, hello(3))), self.introduce(hello(9), replayed)]
        clients.append(self.introduce(hello(4)))
        self.assertEqual(self.answers(clients), [TOO_MANY, TOO_MANY, None, TOO_MANY, None])
        self.world.reactor.advance(1.0)
        self.world.reactor.advance(1.0)
        self.assertEqual([one.message for one in self.heard(new)], [hello(3), hello(4)])

    def deaf(self) -> Traveller:
        """A service that takes hardly anything, and for which two may wait."""
        self.world.publish(test_network=True)
        self.point.restrict(introductions_queue=10_000, introductions_per_second=1e6, introductions_burst=1000)
        host = "198.51.100.9"
        service = self.world.traveller(self.point, host=host).build()
        service.circuit.establish_intro(OTHER)
        service.send()
        self.world.reactor.internet.ways.set(Conditions(in_flight=4096), target=host)
        assert service.link is not None and service.link.transport is not None
        service.link.transport.pauseProducing()
        self.introductions._points[OTHER.public].queue.most = 2
        return service

    def fill(self) -> int:
        """Introduce clients until one waits; how many did not."""
        passed = 0
        while self.answer(self.introduce(hello(passed), key=OTHER)) is OK:
            passed += 1
        return passed

    def test_a_service_that_takes_nothing(self) -> None:
        """What waits in its link has a bound; clients are refused in time, and passed on when it goes on."""
        service = self.deaf()
        point = self.introductions._points[OTHER.public]
        passed = self.fill()
        self.assertTrue(10_000 < point.circuit.queued < 12_000, point.circuit.queued)
        self.introduce(hello(passed + 1), key=OTHER)
        self.assertEqual(len(point.queue), 2)
        for _ in range(11):
            self.world.reactor.advance(0.25)
        self.assertEqual((len(point.queue), self.point.refused()), (0, {"introductions_too_fast": 2}))
        last = self.introduce(hello(passed + 2), key=OTHER)
        service.link.transport.resumeProducing()
        self.world.reactor.advance(0.3)
        self.assertIs(self.answer(last), OK)
        self.assertEqual([one.refused for one in self.heard(service)], [0] * passed + [1])

    def test_too_late_between_two_looks(self) -> None:
        """Whoever comes when the service goes on is passed on, and who has waited too long by then is told so."""
        service = self.deaf()
        self.introductions._points[OTHER.public].queue.patience = 0.4
        waits = self.introduce(hello(self.fill() + 1), key=OTHER)
        self.world.reactor.advance(0.25)
        service.link.transport.resumeProducing()
        self.world.reactor.advance(0.2)
        self.assertIs(self.answer(self.introduce(hello(99), key=OTHER)), OK)
        self.assertIs(self.answer(waits), TOO_MANY)

    def test_a_node_that_passes_on_hardly_any(self) -> None:
        """Nobody waits until the next one may go."""
        self.point.restrict(introductions_per_second=0.01, introductions_burst=1)
        self.introduced(OTHER)
        clients = [self.introduce(hello(number), key=OTHER) for number in range(2)]
        self.world.reactor.advance(2.6)
        self.assertEqual(self.answers(clients), [OK, TOO_MANY])

    def test_what_waits_is_counted(self) -> None:
        """As bytes of the node, until it is passed on or dropped (SECURITY F6, F9)."""
        clients = [self.world.traveller(self.point).build() for _ in range(5)]
        # By then the node has seen that nothing waits in their circuits.
        self.world.reactor.advance(2.0)
        self.introduce()
        for number, client in enumerate(clients):
            self.say(client, MessageType.INTRODUCE1, Introduce1(KEY.public, Proof(), hello(number)).encode())
        self.assertEqual(self.point.router.status().queued, 2 * 512)
        self.world.reactor.advance(1.0)
        self.assertEqual(self.point.router.status().queued, 512)
        self.world.reactor.advance(2.0)
        self.assertEqual(self.point.router.status().queued, 0)

    def test_too_little_memory(self) -> None:
        """Those who wait for longest end, and leave their places."""
        clients = [self.introduce(hello(number)) for number in (1, 2)]
        self.point.bounds.waiting.most = 700
        point = self.introductions._points[KEY.public]
        point.queue.per_second = 0.001
        self.world.reactor.advance(1.0)
        self.assertEqual(sorted(client.destroyed for client in clients), [False, True])
        self.assertEqual((len(point.queue), self.point.refused()), (1, {"memory": 1}))

    def test_the_node_stops(self) -> None:
        """No timer is left, whenever a client comes."""
        self.introduce(hello(1))
        late = self.world.traveller(self.point).build()
        point = self.introductions._points[KEY.public]
        self.point.router._onions.stop()
        self.assertIsNone(point.timer)
        self.say(late, MessageType.INTRODUCE1, Introduce1(KEY.public, Proof(), hello(2)).encode())
        closing = self.point.router.close()
        self.world.reactor.advance(5.0)
        self.successResultOf(closing)
        self.assertTrue(late.destroyed or late.lost)
        self.assertEqual((self.introductions._points, point.timer), ({}, None))


class EffortTests(Floods):
    """Who goes first."""

    def test_the_highest_first(self) -> None:
        """Whoever came when; the others are refused, and the service is told how much they had made."""
        efforts = (3, 50, 0, 20, 7)
        clients = []
        for number, effort in enumerate(efforts, 1):
            clients.append(self.introduce(hello(number), solved(effort, hello(number))))
        self.assertEqual(self.answers(clients), [TOO_MANY, None, TOO_MANY, None, TOO_MANY])
        self.assertEqual(self.turns(clients), [1, 3])
        heard = [(one.proof.effort, one.refused) for one in self.heard(self.service)]
        self.assertEqual(heard, [(0, 0), (50, 8), (20, 0)])

    def test_a_claim_that_does_not_hold(self) -> None:
        """It is worth nothing: of another message, of another seed, more than was made."""
        holds = solved(2000, hello(1))
        liars = [
            self.introduce(hello(2), holds),
            self.introduce(hello(3), solved(2000, hello(3), b"t" * 32)),
            self.introduce(hello(4), Proof(2**32 - 1, solved(2000, hello(4)).nonce)),
        ]
        honest = self.introduce(hello(1), solved(2, hello(1)))
        self.introduce(hello(5))
        self.assertEqual(self.answers(liars), [TOO_MANY] * 3)
        self.assertEqual(self.turns([*liars, honest], 2), [3])
        self.assertEqual([one.refused for one in self.heard(self.service)], [0, 1, 0])

    def test_without_a_puzzle(self) -> None:
        """Until a service has set one, no effort is worth anything."""
        self.introduced(OTHER)
        self.introduce(key=OTHER)
        clients = []
        for number in range(3):
            message = hello(number)
            clients.append(self.introduce(message, solved(100 * (3 - number), message), key=OTHER))
        self.assertEqual(self.answers(clients), [TOO_MANY, None, None])

    def test_other_seeds(self) -> None:
        """The last one and the one before count, an older one does not; the same one again changes nothing."""
        def pair(number: int, seed: bytes) -> list[IntroduceStatus | None]:
            """One that was solved with *seed*, and two after it without any effort."""
            message = hello(number)
            clients = [self.introduce(message, solved(99, message, seed))]
            clients += [self.introduce(hello(number + more)) for more in (1, 2)]
            for client in clients:
                client.destroy()
            return self.answers(clients)

        counts, does_not = [None, TOO_MANY, None], [TOO_MANY, None, None]
        second, third = b"2" * 32, b"3" * 32
        self.assertEqual([pair(10, SEED), pair(20, second)], [counts, does_not])
        self.say(self.service, MessageType.INTRO_PUZZLE, second)
        self.say(self.service, MessageType.INTRO_PUZZLE, second)
        self.assertEqual([pair(30, SEED), pair(40, second)], [counts, counts])
        self.say(self.service, MessageType.INTRO_PUZZLE, third)
        self.assertEqual([pair(50, SEED), pair(60, second), pair(70, third)], [does_not, counts, counts])


class ReplayTests(Floods):
    """A proof that comes again."""

    def setUp(self) -> None:
        super().setUp()
        self.proof = solved(500)

    def worth(self) -> bool:
        """Whether the effort counts now: two later ones without any do not push it out."""
        clients = [self.introduce(HELLO, self.proof), self.introduce(hello(1)), self.introduce(hello(2))]
        counts = self.answer(clients[0]) is None
        for client in clients:
            client.destroy()
        return counts

    def test_after_it_was_passed_on(self) -> None:
        """Its effort counts once; an attacker must make another one for each."""
        client = self.introduce(HELLO, self.proof)
        self.world.reactor.advance(1.0)
        self.assertIs(self.answer(client), OK)
        self.assertEqual([self.worth(), self.worth()], [False, False])
        # The same puzzle once more is no other one.
        self.say(self.service, MessageType.INTRO_PUZZLE, SEED)
        self.assertFalse(self.worth())

    def test_while_it_waits(self) -> None:
        """The same: it has one place among those that made an effort, and the end of the second frees no third."""
        self.introduce(HELLO, self.proof)
        self.assertEqual([self.worth(), self.worth()], [False, False])

    def test_after_it_was_dropped(self) -> None:
        """Nothing had come of it, so it counts."""
        self.introduce(HELLO, self.proof).destroy()
        self.assertTrue(self.worth())
        first = self.introduce(HELLO, self.proof)
        for number in (1, 2):
            self.introduce(hello(number), solved(1000, hello(number)))
        self.assertIs(self.answer(first), TOO_MANY)
        self.world.reactor.advance(1.0)
        self.world.reactor.advance(1.0)
        self.assertTrue(self.worth())

    def test_what_is_remembered_has_a_bound(self) -> None:
        """Of all services together; when there is too much, the one with the most loses its own."""
        self.point.restrict(introductions_remembered=10, introductions_per_second=100.0, introductions_burst=100)
        other = self.introduced(OTHER, SEED)
        for number in range(1, 8):
            self.introduce(hello(number), solved(2, hello(number)), OTHER)
            self.assertEqual(self.introductions._counted, number)
        for number in (1, 2, 3):
            client = self.introduce(hello(number), solved(2, hello(number)))
            self.world.reactor.advance(1.0)
            self.assertIs(self.answer(client), OK)
        self.assertEqual(self.introductions._counted, 10)
        self.introduce(hello(9), solved(2, hello(9)), OTHER)
        self.assertEqual(self.introductions._counted, 3)
        counted = {key: sum(map(len, point.counted.values())) for key, point in self.introductions._points.items()}
        self.assertEqual(counted, {KEY.public: 3, OTHER.public: 0})
        self.service.destroy()
        other.destroy()
        self.assertEqual(self.introductions._counted, 0)

    def test_seeds_that_do_not_count_any_more(self) -> None:
        """What was remembered for them is forgotten."""
        self.introduce(HELLO, self.proof)
        for seed in (b"1" * 32, b"2" * 32):
            self.assertEqual(self.introductions._counted, 1)
            self.say(self.service, MessageType.INTRO_PUZZLE, seed)
        self.assertEqual(self.introductions._counted, 0)


class FullSizeTests(Onions):
    """As many as a node passes on by default, and ten times as many that come."""

    def test_a_flood_without_effort(self) -> None:
        """For 2.8 seconds: whoever makes any effort is introduced at once, as soon as the next one may be."""
        self.world.publish(test_network=True)
        service = self.introduced(seed=SEED)
        honest = 0
        for number in range(700):
            self.leave(self.introduce(hello(number)))
            if number > 400 and not number % 50:
                message = hello(1_000_000 + number)
                client = self.introduce(message, solved(64, message))
                self.world.reactor.advance(0.041)
                self.assertIs(self.answer(client), OK)
                honest += 1
            self.world.reactor.advance(0.004)
        self.assertEqual(honest, 5)
        self.assertIn(len(self.heard(service)), (274, 275, 276))
        self.assertGreater(self.point.refused()["introductions_too_fast"], 350)

    def leave(self, client: Traveller) -> None:
        """Who floods does not keep what was answered."""
        if self.answer(client) is not None and client.link is not None:
            client.link.transport.abortConnection()
