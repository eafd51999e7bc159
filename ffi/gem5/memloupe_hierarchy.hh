// The caches and the memory of a machine of memloupe as a gem5 object, below a port for each core.
#ifndef MEMLOUPE_GEM5_HIERARCHY_HH
#define MEMLOUPE_GEM5_HIERARCHY_HH

#include <memloupe_hierarchy_core.hh>

#include <memory>
#include <vector>

#include "gem5/memloupe_gem5.hh"
#include "mem/abstract_mem.hh"
#include "mem/port.hh"
#include "params/MemloupeHierarchy.hh"
#include "sim/eventq.hh"

namespace gem5
{

namespace memory
{

/// Data lies in the object, as in a memory, and moves when a request is accepted; caches are lines and their state only, so
/// what ports see is coherent. There are no backdoors: every access is to be seen.
class MemloupeHierarchy : public AbstractMemory, private memloupe::HierarchyHost<Packet>
{
  public:
    PARAMS(MemloupeHierarchy);
    explicit MemloupeHierarchy(const Params &p);

    void init() override;
    void resetStats() override;
    Port &getPort(const std::string &if_name, PortID idx = InvalidPortID) override;
    DrainState drain() override;
    void memWriteback() override;
    void serialize(CheckpointOut &cp) const override;
    void unserialize(CheckpointIn &cp) override;

  private:
    class CorePort : public ResponsePort
    {
      public:
        CorePort(const std::string &name, PortID id, MemloupeHierarchy &hierarchy)
            : ResponsePort(name, id), hierarchy(hierarchy)
        {}

      protected:
        Tick recvAtomic(PacketPtr pkt) override { return hierarchy.recvAtomic(id, pkt); }
        void recvFunctional(PacketPtr pkt) override { hierarchy.recvFunctional(pkt); }
        bool recvTimingReq(PacketPtr pkt) override { return hierarchy.recvTimingReq(id, pkt); }
        void recvRespRetry() override { hierarchy.core.responseRetry(id); }
        AddrRangeList getAddrRanges() const override { return {hierarchy.getAddrRange()}; }

      private:
        MemloupeHierarchy &hierarchy;
    };

    memloupe_access accessOf(PacketPtr pkt) const;
    Tick recvAtomic(PortID port, PacketPtr pkt);
    void recvFunctional(PacketPtr pkt);
    bool recvTimingReq(PortID port, PacketPtr pkt);

    // memloupe::HierarchyHost
    uint64_t nowPs() const override;
    void wakeAt(uint64_t time_ps) override;
    bool respond(uint32_t port, Packet *packet) override;
    void retryRequest(uint32_t port) override;
    void idle() override;

    memloupe::HierarchyCore<Packet> core;
    std::vector<std::unique_ptr<CorePort>> ports;
    const Tick front_latency;
    EventFunctionWrapper wake_event;
    /// What upstream still looks at until its call returns.
    std::unique_ptr<Packet> pending_delete;
    MemloupeNumbers numbers;
};

} // namespace memory
} // namespace gem5

#endif // MEMLOUPE_GEM5_HIERARCHY_HH
