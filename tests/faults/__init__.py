"""The faults of SECURITY section 3, by number, and where each is shown.

What is named here is under tests/; ``test_table`` looks whether it is there. *soak* is what ``make soak`` does to real
processes, at full size and for as long as one likes. In this package every fault of a whole network is followed by the
common oracle: tests/network/oracle counts circuits, links, connections, timed calls and bytes exactly, lets no logged
error pass, and makes an honest transfer.

::

     1  node killed             faults/test_lost::KilledTests  network/test_failures::LostNodeTests
                                network/test_firstdata::OnceTests  integration/test_failures::LostNodeTests  soak
     2  node frozen             faults/test_lost::FrozenTests  tpdp/test_liveness::PauseTests  soak
     3  half-open TCP           faults/test_lost::HalfOpenTests  network/test_resilience::SilentDeathTests
     4  half-close              faults/test_halfclose::DestinationTests  faults/test_halfclose::LinkTests
                                network/test_transfer::HalfCloseTests  node/test_exitstream::HalfCloseTests
     5  slow application        faults/test_slow::SlowReaderTests  network/test_flow::SlowLineTests
                                network/test_memory::MemoryTests
     6  sniper                  faults/test_slow::SniperTests  node/test_memory::SniperTests
                                tpdp/test_ends::BothWaysTests::test_wrong_acknowledgement
     7  slow link handshakes    faults/test_slow::SlowlorisTests::test_link  node/test_floods::SlowlorisTests
                                net/test_gate::PendingTests  soak
     8  slow requests           faults/test_slow::SlowlorisTests  apps/socks/test_connection::DeadlineTests
                                apps/httpproxy/test_connection::DeadlineTests  pool/test_web::ConnectionTests
                                apps/test_status::StatusProtocolTests  soak
     9  flipped byte            faults/test_bytes::BulkTests  faults/test_bytes::HeaderTests
                                faults/test_bytes::LinkFaultTests  network/test_evil::ForwardTests
                                tpdp/test_layers::ForwardTests::test_every_flipped_byte_is_refused_at_each_hop
                                tpdp/test_layers::BackwardTests::test_every_flipped_byte_is_refused_at_the_origin
                                tpdp/test_records::RecordTests::test_every_flipped_byte_is_refused
                                tpdp/test_link::HandshakeTests::test_every_flipped_byte_of_the_hello
                                tpdp/test_link::HandshakeTests::test_every_flipped_byte_of_the_reply
    10  truncated frame         faults/test_bytes::TruncatedTests  faults/test_bytes::LinkFaultTests
                                tpdp/test_frames::FrameTests::test_every_prefix_is_refused
    11  lengths                 faults/test_lengths::LengthTests  tpdp/test_records::RecordTests
                                net/test_fetch::BadAnswerTests  pool/test_web::HeartbeatTests
                                apps/httpproxy/test_smuggling::SmugglingTests  apps/socks/test_messages::ParserTests
    12  replay                  faults/test_cells::ReplayTests  faults/test_cells::NetworkTests
                                faults/test_bytes::RecordFaultTests  network/test_evil::BackwardTests::test_replayed
    13  reordered, twice, left  network/test_evil::ForwardTests  network/test_evil::BackwardTests
        out, invented           faults/test_bytes::RecordFaultTests  faults/test_cells::NetworkTests
                                integration/test_evil::EvilTests
    14  EARLY                   faults/test_cells::EarlyTests  faults/test_cells::NetworkTests
                                network/test_evil::BackwardTests::test_backward_early
    15  circuit ids             faults/test_rawlink::CircuitIdTests  tpdp/test_link::CircuitTests
    16  storm of CREATEs        node/test_handshakes::StormTests  node/test_floods::StormTests  soak
    17  DESTROY in every state  faults/test_destroy::DestroyTests  node/test_teardown
    18  EXTEND to what is wrong faults/test_extend::ExtendTests  node/test_extending::RefusedTests
                                node/test_extending::AddressTests  node/test_extending::FailureTests
    19  eight and nine hops     faults/test_extend::LongTests  faults/test_cells::EarlyTests::test_nine_hops
                                tpdp/test_origin::BuildTests::test_lengths
    20  clocks                  faults/test_clock::ClientClockTests  faults/test_clock::StepTests
                                net/test_listings::SkewTests  node/test_heartbeat::TroubleTests
    21  full disk               network/test_full_disk::FullDiskTests  integration/test_full_disk::FullDiskTests
                                net/test_statefaults::FailingTests
    22  damaged files           network/test_damaged_files::DamagedFileTests  net/test_statefaults::KilledTests
                                integration/test_killed::KilledTests
    23  wrong directories       integration/test_refused_state::RefusedStateTests  net/test_state::OpenTests
    24  pool down               network/test_pools::DownTests  net/test_listings::PoolsDownTests
                                net/test_listings::FailureTests  faults/test_directory::PoolWayTests
                                network/test_failures::DirectoryTests
    25  pool lies               network/test_pools::LyingPoolTests  net/test_lies::ForgeryTests  net/test_lies::LieTests
                                net/test_fetch::BadAnswerTests  faults/test_directory::PoolWayTests
    26  pool equivocates        network/test_pools::EquivocationTests  net/test_listings::DigestTests
    27  name servers            faults/test_names::NameTests  node/test_resolver::ResolverTests
                                node/test_exits::PolicyTests
    28  no file descriptors     integration/test_descriptors::DescriptorTests  node/test_floods::DescriptorTests
                                net/test_gate::OpenTests  soak
    29  no memory               node/test_memory::SniperTests  node/test_memory::MemoryErrorTests  soak
    30  no processor            faults/test_lost::StarvedTests  soak
    31  10 000 circuits         node/test_teardown  soak
    32  1000 streams            network/test_transfer::TransferTests::test_twenty_streams  soak
    33  opened and reset        faults/test_streams::ManyTests  soak
    34  a day                   soak
    35  one long transfer       network/test_transfer::TransferTests  soak
    36  onion services          apps/onionservice/test_onionservice::ReplayTests
                                apps/onionservice/test_onionservice::LossTests
                                apps/onionservice/test_onionservice::LoadTests  apps/onionservice/test_load::FloodTests
                                network/test_onions::TroubleTests  integration/test_onions::OnionTests
    37  DHT                     dht/test_world::LiarTests  dht/test_world::UpkeepTests  dht/test_storage::RoomTests
                                testing/test_dhtlookups::WorldTests  network/test_dht::PartitionTests
    38  evil applications       faults/test_proxies::EvilApplicationTests  apps/httpproxy/test_smuggling::SmugglingTests
                                apps/socks/test_connection::RefusalTests  apps/test_destinations::JudgeTests
    39  signals, shutdown       integration/test_services::LineTests  integration/test_workers::EndTests  soak
    40  versions                faults/test_versions::HopTests  faults/test_versions::DocumentTests
                                faults/test_versions::NetworkTests  tpdp/test_greeting::HelloTests
                                tpdp/test_greeting::AnswerTests  pool/test_store::StoreTests::test_later_version
"""
