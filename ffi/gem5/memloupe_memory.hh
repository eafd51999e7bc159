// The memory of a machine of memloupe as a gem5 object.
#ifndef MEMLOUPE_GEM5_MEMORY_HH
#define MEMLOUPE_GEM5_MEMORY_HH

#include <memloupe_core.hh>

#include <memory>

#include "gem5/memloupe_gem5.hh"
#include "mem/abstract_mem.hh"
#include "mem/port.hh"
#include "params/MemloupeMemory.hh"
#include "sim/eventq.hh"

namespace gem5
{

namespace memory
{

/// Data moves when a request is accepted, so functional accesses and checkpoints see it; responses carry the time. No
/// event is scheduled while nothing is under way.
class MemloupeMemory : public AbstractMemory, private memloupe::Host<Packet>
{
  public:
    PARAMS(MemloupeMemory);
    explicit MemloupeMemory(const Params &p);

    void init() override;
    void resetStats() override;
    Port &getPort(const std::string &if_name, PortID idx = InvalidPortID) override;
    DrainState drain() override;
    void serialize(CheckpointOut &cp) const override;
    void unserialize(CheckpointIn &cp) override;

  private:
    class MemoryPort : public ResponsePort
    {
      public:
        MemoryPort(const std::string &name, MemloupeMemory &memory)
            : ResponsePort(name), memory(memory)
        {}

      protected:
        Tick recvAtomic(PacketPtr pkt) override { return memory.recvAtomic(pkt); }
        void recvFunctional(PacketPtr pkt) override { memory.recvFunctional(pkt); }
        bool recvTimingReq(PacketPtr pkt) override { return memory.recvTimingReq(pkt); }
        void recvRespRetry() override { memory.core.responseRetry(); }
        AddrRangeList getAddrRanges() const override { return {memory.getAddrRange()}; }

      private:
        MemloupeMemory &memory;
    };

    Tick recvAtomic(PacketPtr pkt);
    void recvFunctional(PacketPtr pkt);
    bool recvTimingReq(PacketPtr pkt);

    // memloupe::Host
    uint64_t nowPs() const override;
    void wakeAt(uint64_t time_ps) override;
    bool respond(Packet *packet) override;
    void retryRequest() override;
    void idle() override;

    MemoryPort port;
    memloupe::MemoryCore<Packet> core;
    const bool early_writes;
    const Tick front_latency;
    const Tick atomic_latency;
    EventFunctionWrapper wake_event;
    /// What upstream still looks at until its call returns.
    std::unique_ptr<Packet> pending_delete;
    MemloupeNumbers numbers;
};

} // namespace memory
} // namespace gem5

#endif // MEMLOUPE_GEM5_MEMORY_HH
