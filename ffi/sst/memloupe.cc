#include <sst/core/sst_config.h>

#include "memloupe.h"

#include <fstream>

using namespace SST;
using namespace SST::Memloupe;

bool Model::issue(uint64_t id, uint64_t address, bool is_write, unsigned bytes) {
    memloupe_request request = {};
    request.address = address;
    request.size_bytes = bytes;
    request.kind = is_write ? MEMLOUPE_REQUEST_WRITE : MEMLOUPE_REQUEST_READ;
    auto held = std::make_unique<uint64_t>(id);
    if (!core.request(held.get(), request))
        return false;
    held.release(); // until it is answered
    return true;
}

void Model::wake() {
    if (owner.now() < next_wake)
        return;
    next_wake = MEMLOUPE_NEVER_PS;
    core.wake();
}

void Model::finish(Output& output) const {
    if (statistics_file.empty())
        return;
    std::ofstream file(statistics_file);
    file << core.json() << '\n';
    if (!file.flush())
        output.fatal(CALL_INFO, -1, "memloupe: cannot write %s\n", statistics_file.c_str());
}

void Model::wakeAt(uint64_t time_ps) {
    // A self link can't take an event back: a later one is left to find that there is nothing to do.
    if (time_ps >= next_wake)
        return;
    next_wake = time_ps;
    owner.wake_after(time_ps - owner.now());
}

bool Model::respond(uint64_t* request) {
    const std::unique_ptr<uint64_t> held(request);
    owner.answer(*held);
    return true;
}

namespace {

/// An event without content.
class WakeEvent : public Event {
public:
    void serialize_order(Core::Serialization::serializer& ser) override { Event::serialize_order(ser); }
    ImplementSerializable(WakeEvent);
};

} // namespace

Memory::Memory(ComponentId_t id, Params& params)
    : SimpleMemBackend(id, params),
      self(configureSelfLink("wake", "1ps", new Event::Handler<Memory, &Memory::wake>(this))),
      model({[this] { return getCurrentSimTime("1ps"); },
             [this](uint64_t delay_ps) { self->send(delay_ps, new WakeEvent()); },
             [this](uint64_t request) { handleMemResponse(request); }},
            params)
{}

bool Memory::issueRequest(ReqId id, MemHierarchy::Addr address, bool is_write, unsigned bytes) {
    return model.issue(id, address, is_write, bytes);
}

void Memory::wake(Event* event) {
    delete event;
    model.wake();
}

FlagMemory::FlagMemory(ComponentId_t id, Params& params)
    : FlagMemBackend(id, params),
      self(configureSelfLink("wake", "1ps", new Event::Handler<FlagMemory, &FlagMemory::wake>(this))),
      model({[this] { return getCurrentSimTime("1ps"); },
             [this](uint64_t delay_ps) { self->send(delay_ps, new WakeEvent()); },
             [this](uint64_t request) {
                 const auto flags = flags_of.find(request);
                 const uint32_t value = flags->second;
                 flags_of.erase(flags);
                 handleMemResponse(request, value);
             }},
            params)
{}

bool FlagMemory::issueRequest(ReqId id, MemHierarchy::Addr address, bool is_write, uint32_t flags, unsigned bytes) {
    if (!model.issue(id, address, is_write, bytes))
        return false;
    flags_of[id] = flags;
    return true;
}

void FlagMemory::wake(Event* event) {
    delete event;
    model.wake();
}
