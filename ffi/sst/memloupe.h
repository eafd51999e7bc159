// The memory of a machine of memloupe as a memory backend of SST's memHierarchy.
#ifndef MEMLOUPE_SST_H
#define MEMLOUPE_SST_H

#include <memloupe_core.hh>

#include <sst/core/event.h>
#include <sst/core/link.h>
#include <sst/core/output.h>

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

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

    /// What a user says.
    struct Settings {
        Settings() = default;
        explicit Settings(Params& params)
            : machine(params.find<std::string>("machine", "desktop")),
              controller(params.find<std::string>("controller", "")),
              statistics_file(params.find<std::string>("statistics_file", ""))
        {}

        std::string machine, controller, statistics_file;
    };

    Model(Owner owner, Settings settings)
        : owner(std::move(owner)),
          settings(std::move(settings)),
          core(*this, this->settings.machine, this->settings.controller)
    {}

    /// Saves a model, or makes the one that was saved.
    static void serialize(Core::Serialization::serializer& ser, std::unique_ptr<Model>& model, Owner owner);

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
    Settings settings;
    memloupe::MemoryCore<uint64_t> core;
    uint64_t next_wake = MEMLOUPE_NEVER_PS;
};

/// An event without content.
class WakeEvent : public Event {
public:
    void serialize_order(Core::Serialization::serializer& ser) override { Event::serialize_order(ser); }
    ImplementSerializable(SST::Memloupe::WakeEvent)
};

/// Timing alone.
class Memory : public MemHierarchy::SimpleMemBackend {
public:
    SST_ELI_REGISTER_SUBCOMPONENT(Memory, "memloupe", "memory", SST_ELI_ELEMENT_VERSION(1, 0, 0),
        "DRAM channels with their controllers, by memloupe", SST::MemHierarchy::SimpleMemBackend)
    SST_ELI_DOCUMENT_PARAMS(MEMLOUPE_ELI_PARAMS)
    SST_ELI_IS_CHECKPOINTABLE()

    Memory(ComponentId_t id, Params& params);
    bool issueRequest(ReqId id, MemHierarchy::Addr address, bool is_write, unsigned bytes) override;
    bool isClocked() override { return false; }
    void finish() override { model->finish(*output); }

    Memory() = default; // of a checkpoint
    void serialize_order(Core::Serialization::serializer& ser) override;
    ImplementSerializable(SST::Memloupe::Memory)

private:
    void wake(Event* event);
    Model::Owner owner();

    Link* self = nullptr;
    std::unique_ptr<Model> model;
};

/// Timing, and each request's flags with its response. SST's FlagMemBackend has no checkpoints.
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
