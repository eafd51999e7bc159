// The memory of a machine of memloupe as a memory backend of SST's memHierarchy.
#ifndef MEMLOUPE_SST_H
#define MEMLOUPE_SST_H

#include <memloupe_core.hh>

#include <sst/core/event.h>
#include <sst/core/link.h>
#include <sst/core/output.h>

#include "sst/elements/memHierarchy/membackend/memBackend.h"

namespace SST {
namespace Memloupe {

#define MEMLOUPE_ELI_PARAMS MEMBACKEND_ELI_PARAMS, \
    {"machine", "(string) A preset of memloupe, the path of a machine file, or its text", "desktop"}, \
    {"controller", "(string) TOML as memloupe_memory_create takes it in memloupe.h", ""}, \
    {"statistics_file", "(string) Where the model's statistics go as JSON at the end; empty for nowhere", ""}

/// What both shapes of the backend have in common: events, time, statistics. Request is what is answered.
class Model : public memloupe::Host<uint64_t> {
public:
    /// What a backend does for its model.
    struct Owner {
        std::function<uint64_t()> now;
        std::function<void(uint64_t delay_ps)> wake_after;
        std::function<void(uint64_t request)> answer;
    };

    Model(Owner owner, Params& params)
        : owner(std::move(owner)),
          core(*this, params.find<std::string>("machine", "desktop"), params.find<std::string>("controller", "")),
          statistics_file(params.find<std::string>("statistics_file", ""))
    {}

    /// False if the model is full: the controller tries again, and is refused until there may be room.
    bool issue(uint64_t id, uint64_t address, bool is_write, unsigned bytes);
    /// An event that was asked for; one that a nearer one has replaced does nothing.
    void wake();
    /// Writes the statistics, if they are wanted.
    void finish(Output& output) const;

    uint64_t nowPs() const override { return owner.now(); }
    void wakeAt(uint64_t time_ps) override;
    bool respond(uint64_t* request) override;
    void retryRequest() override {}
    void idle() override {}

private:
    Owner owner;
    memloupe::MemoryCore<uint64_t> core;
    std::string statistics_file;
    uint64_t next_wake = MEMLOUPE_NEVER_PS;
};

/// Timing alone.
class Memory : public MemHierarchy::SimpleMemBackend {
public:
    SST_ELI_REGISTER_SUBCOMPONENT(Memory, "memloupe", "memory", SST_ELI_ELEMENT_VERSION(1, 0, 0),
        "DRAM channels with their controllers, by memloupe", SST::MemHierarchy::SimpleMemBackend)
    SST_ELI_DOCUMENT_PARAMS(MEMLOUPE_ELI_PARAMS)

    Memory(ComponentId_t id, Params& params);
    bool issueRequest(ReqId id, MemHierarchy::Addr address, bool is_write, unsigned bytes) override;
    bool isClocked() override { return false; }
    void finish() override { model.finish(*output); }

private:
    void wake(Event* event);

    Link* self;
    Model model;
};

/// Timing, and each request's flags with its response.
class FlagMemory : public MemHierarchy::FlagMemBackend {
public:
    SST_ELI_REGISTER_SUBCOMPONENT(FlagMemory, "memloupe", "flagMemory", SST_ELI_ELEMENT_VERSION(1, 0, 0),
        "DRAM channels with their controllers, by memloupe; for flagMemBackendConvertor",
        SST::MemHierarchy::FlagMemBackend)
    SST_ELI_DOCUMENT_PARAMS(MEMLOUPE_ELI_PARAMS)

    FlagMemory(ComponentId_t id, Params& params);
    bool issueRequest(ReqId id, MemHierarchy::Addr address, bool is_write, uint32_t flags, unsigned bytes) override;
    bool isClocked() override { return false; }
    void finish() override { model.finish(*output); }

private:
    void wake(Event* event);

    Link* self;
    Model model;
    std::unordered_map<uint64_t, uint32_t> flags_of;
};

} // namespace Memloupe
} // namespace SST

#endif
