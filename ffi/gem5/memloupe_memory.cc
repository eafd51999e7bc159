#include "gem5/memloupe_memory.hh"

#include <vector>

#include "base/logging.hh"
#include "base/trace.hh"
#include "debug/Memloupe.hh"
#include "sim/serialize.hh"

namespace gem5
{

namespace memory
{

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
    for (uint32_t index = 0; index < memloupe_memory_statistic_count(); index++) {
        memloupe_statistic about = {};
        memloupe_memory_statistic_about(index, &about);
        numbers.add(this, about, [this](const char *name) { return core.statistic(name); });
    }
}

void
MemloupeMemory::init()
{
    AbstractMemory::init();
    checkMemloupe(name());
    if (port.isConnected())
        port.sendRangeChange();
}

void
MemloupeMemory::resetStats()
{
    AbstractMemory::resetStats();
    numbers.reset();
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
    saveMemloupe(CheckpointIn::dir(), name(), orFatal(name(), [&] { return core.save(); }));
}

void
MemloupeMemory::unserialize(CheckpointIn &cp)
{
    AbstractMemory::unserialize(cp);
    const std::vector<uint8_t> state = loadMemloupe(cp.getCptDir(), name());
    if (!state.empty())
        orFatal(name(), [&] { core.load(state); });
}

} // namespace memory
} // namespace gem5
