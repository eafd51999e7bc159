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
    const std::string& path = settings.statistics_file;
    if (path.empty())
        return;
    std::ofstream file(path);
    file << core.json() << '\n';
    if (!file.flush())
        output.fatal(CALL_INFO, -1, "memloupe: cannot write %s\n", path.c_str());
}

void Model::serialize(Core::Serialization::serializer& ser, std::unique_ptr<Model>& model, Owner owner) {
    const bool is_new = ser.mode() == Core::Serialization::serializer::UNPACK;
    Settings settings = is_new ? Settings() : model->settings;
    std::vector<uint8_t> state;
    std::vector<uint64_t> under_way;
    uint64_t next_wake = MEMLOUPE_NEVER_PS;
    if (!is_new) {
        state = model->core.save();
        under_way = model->core.saveUnderWay([](const uint64_t* request) { return *request; });
        next_wake = model->next_wake;
    }
    SST_SER(settings.machine);
    SST_SER(settings.controller);
    SST_SER(settings.statistics_file);
    SST_SER(state);
    SST_SER(under_way);
    SST_SER(next_wake);
    if (is_new) {
        model = std::make_unique<Model>(std::move(owner), std::move(settings));
        model->core.load(state);
        model->core.loadUnderWay(under_way, [](uint64_t request) { return new uint64_t(request); });
        model->next_wake = next_wake;
    }
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

Memory::Memory(ComponentId_t id, Params& params)
    : SimpleMemBackend(id, params),
      self(configureSelfLink("wake", "1ps", new Event::Handler<Memory, &Memory::wake>(this))),
      model(std::make_unique<Model>(owner(), Model::Settings(params)))
{}

Model::Owner Memory::owner() {
    return {[this] { return getCurrentSimTime("1ps"); },
            [this](uint64_t delay_ps) { self->send(delay_ps, new WakeEvent()); },
            [this](uint64_t request) { handleMemResponse(request); }};
}

bool Memory::issueRequest(ReqId id, MemHierarchy::Addr address, bool is_write, unsigned bytes) {
    return model->issue(id, address, is_write, bytes);
}

void Memory::wake(Event* event) {
    delete event;
    model->wake();
}

void Memory::serialize_order(Core::Serialization::serializer& ser) {
    SimpleMemBackend::serialize_order(ser);
    SST_SER(self);
    Model::serialize(ser, model, owner());
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
            Model::Settings(params))
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
