"""The vectors of an independent program (tests/onion/independent): byte for byte."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.onion.independent import vectors
from tests.tpdp.vectors import load
from torpydo.crypto import DHPublicKey, DHSecretKey, NodeId, Purpose, Secret, SigningKey, VerifyKey, blind
from torpydo.onion import (
    Introduced,
    Introduction,
    IntroductionPoint,
    Meeting,
    OnionName,
    Proof,
    ServiceDescriptor,
    open_descriptor,
    proves,
    seal_descriptor,
    solve,
)
from torpydo.tpdp import Introduce1, Introduce2


def raw(text: str) -> bytes:
    """Bytes of a vector."""
    return bytes.fromhex(text)


class VectorTests(SynchronousTestCase):
    """Each part."""

    def setUp(self) -> None:
        self.vectors = load("service")

    def test_the_program_makes_them(self) -> None:
        """What is kept is what the program writes."""
        self.assertEqual(vectors(), self.vectors)

    def test_blinding(self) -> None:
        """Names, keys of days, and signatures."""
        for case in self.vectors["blinding"]:
            key = SigningKey(Secret(raw(case["seed"])))
            self.assertEqual(str(OnionName.of(key)), case["name"])
            blinded = blind(key, case["period"])
            self.assertEqual(blinded.public.raw.hex(), case["blinded"])
            self.assertEqual(blinded.sign(Purpose.ITEM, raw(case["message"])).hex(), case["signature"])

    def test_descriptors(self) -> None:
        """What a service stores, and what its clients read."""
        found = self.vectors["descriptor"]
        name, blinded = OnionName(VerifyKey(raw(found["service"]))), VerifyKey(raw(found["blinded"]))
        for case in found["cases"]:
            points = []
            for one in map(raw, case["points"]):
                keys = NodeId(one[:32]), VerifyKey(one[32:64]), DHPublicKey(one[64:96])
                points.append(IntroductionPoint(*keys, one[96:]))
            document = ServiceDescriptor(tuple(points), found["effort"])
            clients = [DHSecretKey(Secret(raw(secret))) for secret in case["clients"]]
            draws = iter(map(raw, case["draws"]))
            value = seal_descriptor(
                document, name, blinded, case["sequence"],
                clients=[client.public for client in clients], rng=lambda size, draws=draws: next(draws),
            )  # fmt: skip
            self.assertEqual(value.hex(), case["value"])
            for client in clients or [None]:
                self.assertEqual(open_descriptor(value, name, blinded, case["sequence"], client), document)

    def test_introduction(self) -> None:
        """Both messages, and the keys of both ends."""
        case = self.vectors["introduction"]
        name, key = OnionName(VerifyKey(raw(case["service"]))), DHSecretKey(Secret(raw(case["service_key"])))
        meeting = Meeting(NodeId(raw(case["node_id"])), raw(case["cookie"]))
        client = Introduction.start(name, key.public, DHSecretKey(Secret(raw(case["client_ephemeral"]))), meeting)
        self.assertEqual(client.message.hex(), case["client_message"])
        keys, reply = Introduced.open(name, key, client.message).answer(
            DHSecretKey(Secret(raw(case["service_ephemeral"])))
        )
        self.assertEqual(reply.hex(), case["relay_message"])
        self.assertEqual((keys.forward.hex(), keys.backward.hex()), (case["forward"], case["backward"]))
        self.assertEqual(client.finish(reply), keys)

    def test_introduce(self) -> None:
        """What the node and the service are told, and the proof of effort, which is the first from 0 on."""
        case = self.vectors["introduce"]
        message, seed = raw(self.vectors["introduction"]["client_message"]), raw(case["seed"])
        proof = Proof(case["effort"], raw(case["nonce"]))
        self.assertEqual(solve(seed, message, case["effort"], bytes(16), 100_000), proof.nonce)
        self.assertTrue(proves(seed, message, proof))
        first, second = raw(case["introduce1"]), raw(case["introduce2"])
        self.assertEqual(Introduce1.decode(first), Introduce1(raw(case["key"]), proof, message))
        self.assertEqual(Introduce2.decode(second), Introduce2(proof, case["refused"], message))
        self.assertEqual((Introduce1.decode(first).encode(), Introduce2.decode(second).encode()), (first, second))
