/* Ramulator 2.1 as a memory of memloupe: bursts go through its External frontend.
 *
 * Parameters: the path of a configuration that `python -m ramulator export` wrote, whose frontend is External. It is built by
 * who has Ramulator:
 *
 *   c++ -std=c++20 -O2 -shared -fPIC -I $RAMULATOR/src -I $MEMLOUPE/include ramulator2.cpp
 *       -L $RAMULATOR -lramulator -Wl,-rpath,$RAMULATOR -o ramulator2.so
 *
 * and named by a memloupe_memory's configuration: model = "library", library = "./ramulator2.so",
 * library_parameters = "ddr4.yaml".
 *
 * A write is done when Ramulator issues its command. Every clock is simulated, idle ones too, since refreshes pass in them:
 * a long pause costs what its clocks cost. */
#include <memloupe_plugin.h>

#include <ramulator/base/config.h>
#include <ramulator/base/factory.h>
#include <ramulator/base/request.h>
#include <ramulator/frontend/i_frontend.h>
#include <ramulator/memory_system/i_memory_system.h>

#include <cmath>
#include <cstdio>
#include <deque>
#include <exception>
#include <memory>

namespace {

struct Memory {
    std::unique_ptr<Ramulator::IFrontEnd> frontend;
    std::unique_ptr<Ramulator::IMemorySystem> system;
    uint64_t clock_ps = 0;
    uint64_t clock = 0; // done so far
    uint64_t under_way = 0;
    bool refused = false;
    std::deque<memloupe_dram_completion> done;

    void tick_to(uint64_t until_ps) {
        while ((clock + 1) * clock_ps <= until_ps) {
            system->tick();
            clock++;
            refused = false;
        }
    }
};

void *create(const char *parameters, char *error, size_t error_bytes) {
    try {
        auto config = Ramulator::Config::parse_config_file(parameters);
        auto memory = std::make_unique<Memory>();
        memory->frontend.reset(Ramulator::Factory::create_frontend(config));
        memory->system.reset(Ramulator::Factory::create_memory_system(config));
        memory->frontend->connect_memory_system(memory->system.get());
        memory->system->connect_frontend(memory->frontend.get());
        memory->clock_ps = static_cast<uint64_t>(std::llround(memory->system->get_tCK() * 1000.0F));
        if (memory->clock_ps == 0) {
            std::snprintf(error, error_bytes, "its clock is %g ns", static_cast<double>(memory->system->get_tCK()));
            return nullptr;
        }
        return memory.release();
    } catch (const std::exception &failure) {
        std::snprintf(error, error_bytes, "%s", failure.what());
        return nullptr;
    }
}

void destroy(void *state) { delete static_cast<Memory *>(state); }

uint32_t burst_bytes(void *state) {
    return static_cast<uint32_t>(static_cast<Memory *>(state)->system->get_tx_bytes());
}

uint32_t send(void *state, uint64_t now_ps, uint64_t id, uint64_t address, uint32_t write, uint32_t core) {
    auto *memory = static_cast<Memory *>(state);
    memory->tick_to(now_ps);
    auto answered = [memory, id](Ramulator::Request &) {
        memory->under_way--;
        memory->done.push_back({id, memory->clock * memory->clock_ps});
    };
    const int type = write != 0 ? Ramulator::Request::Type::Write : Ramulator::Request::Type::Read;
    memory->under_way++;
    const bool accepted =
        memory->frontend->receive_external_requests(type, static_cast<Ramulator::Addr_t>(address),
                                                    static_cast<int>(core), answered,
                                                    memory->system->get_tx_bytes());
    if (!accepted) {
        memory->under_way--;
        memory->refused = true;
        return 0;
    }
    return 1;
}

uint64_t next_event(void *state) {
    const auto *memory = static_cast<Memory *>(state);
    const bool is_idle = memory->under_way == 0 && memory->done.empty() && !memory->refused;
    return is_idle ? UINT64_MAX : (memory->clock + 1) * memory->clock_ps;
}

uint32_t advance(void *state, uint64_t until_ps, memloupe_dram_completion *done, uint32_t most) {
    auto *memory = static_cast<Memory *>(state);
    memory->tick_to(until_ps);
    uint32_t count = 0;
    while (count < most && !memory->done.empty()) {
        done[count++] = memory->done.front();
        memory->done.pop_front();
    }
    return count;
}

} // namespace

extern "C" const memloupe_dram *memloupe_dram_memory(void) {
    static const memloupe_dram table = {MEMLOUPE_PLUGIN_VERSION, create, destroy, burst_bytes, send, next_event, advance};
    return &table;
}
