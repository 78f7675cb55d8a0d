Onion services: ``torpydo expose 80:8000`` and ``twistd torpydo-service`` let a local program be reached by a name, from
anywhere and without anybody's knowing where it runs; ``Client.create_onion_service``, ``Client.onion_endpoint`` and the
string ``torpydo-service:80:keyFile=…`` do it inside a Twisted program; every endpoint and both proxies take names. Nodes
keep the descriptors in a distributed hash table, which ``torpydo dht get|put|stats`` shows
(``docs/howto/onion-services.rst``, ``docs/protocol-onion.rst``, ``docs/protocol-dht.rst``).
