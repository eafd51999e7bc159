#include "gem5/memloupe_memory.hh"

#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/logging.hh"
#include "base/trace.hh"
#include "debug/Memloupe.hh"
#include "sim/core.hh"
#include "sim/serialize.hh"

namespace gem5
{

namespace memory
{

namespace
{

/// A wrong machine or configuration ends the simulation with the library's own words.
template <typename Work>
auto
orFatal(const std::string &name, Work work) -> decltype(work())
{
    try {
        return work();
    } catch (const std::exception &error) {
        fatal("%s: %s\n", name, error.what());
    }
}

std::string
stateFile(const std::string &folder, const std::string &name)
{
    return folder + "/" + name + ".memloupe";
}

} // namespace

MemloupeMemory::MemloupeMemory(const Params &p)
    : AbstractMemory(p),
      port(p.name + ".port", *this),
      core(orFatal(p.name, [&] {
          return memloupe::MemoryCore<Packet>(*this, p.machine, p.config);
      })),
      early_writes(p.early_writes),
      front_latency(p.front_latency),
      atomic_latency(p.atomic_latency),
      wake_event([this] { core.wake(); }, p.name + ".wake")
{
    fatal_if(memloupe_abi_version() != MEMLOUPE_ABI_VERSION,
             "%s: libmemloupe has ABI %d, gem5 was built for %d\n", p.name,
             memloupe_abi_version(), MEMLOUPE_ABI_VERSION);
    numbers.resize(memloupe_memory_statistic_count());
    for (uint32_t index = 0; index < numbers.size(); index++) {
        Number &number = numbers[index];
        memloupe_memory_statistic_about(index, &number.about);
        number.value = std::make_unique<statistics::Value>(
            this, number.about.name, number.about.description);
        number.value->functor([this, index] {
            const Number &number = numbers[index];
            return core.statistic(number.about.name) - number.at_reset;
        });
    }
}

void
MemloupeMemory::init()
{
    AbstractMemory::init();
    fatal_if(sim_clock::as_int::ns != 1000,
             "%s: a tick must be a picosecond, as it is unless "
             "m5.ticks.setGlobalFrequency says otherwise\n", name());
    if (port.isConnected())
        port.sendRangeChange();
}

void
MemloupeMemory::resetStats()
{
    AbstractMemory::resetStats();
    // Counts begin again; means, maxima and percentiles are those since the start.
    for (Number &number : numbers) {
        if (number.about.is_count)
            number.at_reset = core.statistic(number.about.name);
    }
}

Port &
MemloupeMemory::getPort(const std::string &if_name, PortID idx)
{
    return if_name == "port" ? port : AbstractMemory::getPort(if_name, idx);
}

Tick
MemloupeMemory::recvAtomic(PacketPtr pkt)
{
    panic_if(pkt->cacheResponding(), "%s: a cache responds already\n", name());
    access(pkt);
    return atomic_latency;
}

void
MemloupeMemory::recvFunctional(PacketPtr pkt)
{
    pkt->pushLabel(name());
    functionalAccess(pkt);
    bool satisfied = false;
    core.forEachPending([&](PacketPtr pending) {
        satisfied = satisfied || pkt->trySatisfyFunctional(pending);
    });
    pkt->popLabel();
}

bool
MemloupeMemory::recvTimingReq(PacketPtr pkt)
{
    panic_if(pkt->cacheResponding(), "%s: a cache responds already\n", name());
    panic_if(!pkt->isRead() && !pkt->isWrite(),
             "%s: neither a read nor a write: %s\n", name(), pkt->cmdString());

    const bool answers = pkt->needsResponse();
    const bool early = early_writes && pkt->isWrite();
    memloupe_request request = {};
    // Past the range's start, and without the bits that choose between interleaved memories.
    request.address = getAddrRange().getOffset(pkt->getAddr());
    request.size_bytes = pkt->getSize();
    request.kind = pkt->isWrite() ? (pkt->isWriteback() ? MEMLOUPE_REQUEST_WRITEBACK : MEMLOUPE_REQUEST_WRITE)
                                  : MEMLOUPE_REQUEST_READ;
    request.core = pkt->req->requestorId();
    request.pc = pkt->req->hasPC() ? pkt->req->getPC() : 0;
    request.tag = pkt->req->requestorId();
    // The way through the crossbar is paid for on the way back, with our own part of it.
    const Tick delay = pkt->headerDelay + pkt->payloadDelay + front_latency;
    if (!core.request(answers && !early ? pkt : nullptr, request, delay)) {
        DPRINTF(Memloupe, "refused %s\n", pkt->print());
        return false;
    }

    pkt->headerDelay = pkt->payloadDelay = 0;
    access(pkt);
    if (!answers) {
        pending_delete.reset(pkt);
    } else {
        panic_if(!pkt->isResponse(), "%s: access made no response\n", name());
        if (early)
            core.answerAt(curTick() + delay, pkt, request.address);
    }
    return true;
}

uint64_t
MemloupeMemory::nowPs() const
{
    return curTick();
}

void
MemloupeMemory::wakeAt(uint64_t time_ps)
{
    reschedule(wake_event, time_ps, true);
}

bool
MemloupeMemory::respond(Packet *packet)
{
    return port.sendTimingResp(packet);
}

void
MemloupeMemory::retryRequest()
{
    port.sendRetryReq();
}

void
MemloupeMemory::idle()
{
    if (drainState() == DrainState::Draining)
        signalDrainDone();
}

DrainState
MemloupeMemory::drain()
{
    return core.isIdle() ? DrainState::Drained : DrainState::Draining;
}

void
MemloupeMemory::serialize(CheckpointOut &cp) const
{
    AbstractMemory::serialize(cp);
    const std::string path = stateFile(CheckpointIn::dir(), name());
    const std::vector<uint8_t> state = orFatal(name(), [&] { return core.save(); });
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char *>(state.data()), state.size());
    fatal_if(!file, "%s: cannot write %s\n", name(), path);
}

void
MemloupeMemory::unserialize(CheckpointIn &cp)
{
    AbstractMemory::unserialize(cp);
    const std::string path = stateFile(cp.getCptDir(), name());
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        warn("%s: no %s: the memory starts with its banks closed\n", name(), path);
        return;
    }
    const std::vector<uint8_t> state{std::istreambuf_iterator<char>(file), {}};
    orFatal(name(), [&] { core.load(state); });
}

} // namespace memory
} // namespace gem5
