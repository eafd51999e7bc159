#include "gem5/memloupe_hierarchy.hh"

#include <cmath>
#include <set>
#include <string>

#include "base/logging.hh"
#include "base/trace.hh"
#include "debug/Memloupe.hh"
#include "sim/serialize.hh"

namespace gem5
{

namespace memory
{

MemloupeHierarchy::MemloupeHierarchy(const Params &p)
    : AbstractMemory(p),
      core(orFatal(p.name, [&] {
          return memloupe::HierarchyCore<Packet>(*this, p.machine, p.config);
      })),
      front_latency(p.front_latency),
      wake_event([this] { core.wake(); }, p.name + ".wake")
{
    const int connected = p.port_cores_connection_count;
    fatal_if(connected > int(core.cores()), "%s: %d ports, the machine has %d cores\n", p.name,
             connected, core.cores());
    for (PortID id = 0; id < connected; id++)
        ports.push_back(std::make_unique<CorePort>(csprintf("%s.cores[%d]", p.name, id), id, *this));

    std::set<std::string> names;
    for (uint32_t index = 0; index < memloupe_memory_statistic_count(); index++) {
        memloupe_statistic about = {};
        memloupe_memory_statistic_about(index, &about);
        names.insert(about.name);
        numbers.add(this, about,
                    [this](const char *name) { return core.memory().statistic(name); });
    }
    for (uint32_t index = 0; index < core.statisticCount(); index++) {
        const memloupe_statistic about = core.statisticAbout(index);
        // What left the caches is in the memory's own numbers, in time.
        if (names.insert(about.name).second)
            numbers.add(this, about, [this](const char *name) { return core.statistic(name); });
    }
}

void
MemloupeHierarchy::init()
{
    AbstractMemory::init();
    checkMemloupe(name());
    for (const auto &port : ports)
        port->sendRangeChange();
}

void
MemloupeHierarchy::resetStats()
{
    AbstractMemory::resetStats();
    numbers.reset();
}

Port &
MemloupeHierarchy::getPort(const std::string &if_name, PortID idx)
{
    if (if_name != "cores")
        return AbstractMemory::getPort(if_name, idx);
    fatal_if(idx >= PortID(ports.size()), "%s: there is no port cores[%d]\n", name(), idx);
    return *ports[idx];
}

memloupe_access
MemloupeHierarchy::accessOf(PacketPtr pkt) const
{
    memloupe_access access = {};
    // Past the range's start, and without the bits that choose between interleaved memories.
    access.address = getAddrRange().getOffset(pkt->getAddr());
    access.size_bytes = pkt->getSize();
    access.pc = pkt->req->hasPC() ? pkt->req->getPC() : 0;
    if (pkt->req->isInstFetch())
        access.kind = MEMLOUPE_FETCH;
    else if (pkt->isRead() && pkt->isWrite())
        access.kind = MEMLOUPE_READ_MODIFY_WRITE;
    else if (pkt->isWrite())
        access.kind = MEMLOUPE_STORE;
    else
        access.kind = pkt->req->isPrefetch() ? MEMLOUPE_PREFETCH : MEMLOUPE_LOAD;
    return access;
}

Tick
MemloupeHierarchy::recvAtomic(PortID port, PacketPtr pkt)
{
    panic_if(pkt->cacheResponding(), "%s: a cache responds already\n", name());
    const double latency_ns = core.touch(port, accessOf(pkt));
    access(pkt);
    return front_latency + Tick(std::llround(latency_ns * 1000));
}

void
MemloupeHierarchy::recvFunctional(PacketPtr pkt)
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
MemloupeHierarchy::recvTimingReq(PortID port, PacketPtr pkt)
{
    panic_if(pkt->cacheResponding(), "%s: a cache responds already\n", name());
    panic_if(!pkt->isRead() && !pkt->isWrite(),
             "%s: neither a read nor a write: %s\n", name(), pkt->cmdString());

    const bool answers = pkt->needsResponse();
    const Tick delay = pkt->headerDelay + pkt->payloadDelay + front_latency;
    if (!core.request(port, answers ? pkt : nullptr, accessOf(pkt), delay)) {
        DPRINTF(Memloupe, "refused %s\n", pkt->print());
        return false;
    }

    pkt->headerDelay = pkt->payloadDelay = 0;
    access(pkt);
    if (answers)
        panic_if(!pkt->isResponse(), "%s: access made no response\n", name());
    else
        pending_delete.reset(pkt);
    return true;
}

uint64_t
MemloupeHierarchy::nowPs() const
{
    return curTick();
}

void
MemloupeHierarchy::wakeAt(uint64_t time_ps)
{
    reschedule(wake_event, time_ps, true);
}

bool
MemloupeHierarchy::respond(uint32_t port, Packet *packet)
{
    return ports[port]->sendTimingResp(packet);
}

void
MemloupeHierarchy::retryRequest(uint32_t port)
{
    ports[port]->sendRetryReq();
}

void
MemloupeHierarchy::idle()
{
    if (drainState() == DrainState::Draining)
        signalDrainDone();
}

DrainState
MemloupeHierarchy::drain()
{
    return core.isIdle() ? DrainState::Drained : DrainState::Draining;
}

void
MemloupeHierarchy::memWriteback()
{
    core.clean();
}

void
MemloupeHierarchy::serialize(CheckpointOut &cp) const
{
    AbstractMemory::serialize(cp);
    saveMemloupe(CheckpointIn::dir(), name(),
                 orFatal(name(), [&] { return core.memory().save(); }));
}

void
MemloupeHierarchy::unserialize(CheckpointIn &cp)
{
    AbstractMemory::unserialize(cp);
    const std::vector<uint8_t> state = loadMemloupe(cp.getCptDir(), name());
    if (!state.empty())
        orFatal(name(), [&] { core.memory().load(state); });
    warn("%s: its caches are empty, as gem5's own are after a checkpoint\n", name());
}

} // namespace memory
} // namespace gem5
