/* Drives Ramulator 2.1 with the streams of peers.rs and prints a line of ramulator-2.1.csv, and its speed.
 *
 *   c++ -std=c++20 -O2 -I $RAMULATOR/src ramulator2.cpp -L $RAMULATOR -lramulator -Wl,-rpath,$RAMULATOR -o ramulator2
 *   ./ramulator2 ddr4.yaml rnd 60000 open          (or outstanding=16, every=160) */
#include <ramulator/base/config.h>
#include <ramulator/base/factory.h>
#include <ramulator/base/request.h>
#include <ramulator/frontend/i_frontend.h>
#include <ramulator/memory_system/i_memory_system.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <unordered_map>

namespace {

constexpr uint64_t footprint_bytes = 512ull << 20;
constexpr uint64_t request_bytes = 64;

uint64_t number_behind(const std::string &pace, const char *name) {
    const auto start = pace.rfind(name, 0);
    return start == 0 ? std::strtoull(pace.c_str() + std::string(name).size(), nullptr, 10) : 0;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: %s CONFIGURATION STREAM REQUESTS PACE\n", argv[0]);
        return 2;
    }
    auto config = Ramulator::Config::parse_config_file(argv[1]);
    const std::string stream = argv[2], pace = argv[4];
    const uint64_t requests = std::strtoull(argv[3], nullptr, 10);
    const uint64_t outstanding = number_behind(pace, "outstanding="), every = number_behind(pace, "every=");

    std::unique_ptr<Ramulator::IFrontEnd> frontend(Ramulator::Factory::create_frontend(config));
    std::unique_ptr<Ramulator::IMemorySystem> memory(Ramulator::Factory::create_memory_system(config));
    frontend->connect_memory_system(memory.get());
    memory->connect_frontend(frontend.get());
    const uint64_t burst_bytes = static_cast<uint64_t>(memory->get_tx_bytes());
    const double clock_ns = memory->get_tCK();

    uint64_t clock = 0, sent = 0, done = 0, last = 0, reads = 0, latency = 0, random = 1;
    std::unordered_map<uint64_t, uint64_t> bursts_left;
    auto tick = [&] {
        memory->tick();
        clock++;
    };
    const std::clock_t start = std::clock();
    for (uint64_t i = 0; i < requests; i++) {
        // Knuth's MMIX generator.
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        const uint64_t line = (random >> 16) % (footprint_bytes / request_bytes);
        const uint64_t address = stream == "seq"     ? i * request_bytes % footprint_bytes
                                 : stream == "str4k" ? i * 4096 % footprint_bytes
                                                     : line * request_bytes;
        const bool write = stream == "mix21" && i % 3 == 2;
        while (clock < i * every) {
            tick();
        }
        while (outstanding != 0 && bursts_left.size() >= outstanding) {
            tick();
        }
        bursts_left[i] = request_bytes / burst_bytes;
        for (uint64_t burst = 0; burst < request_bytes / burst_bytes; burst++) {
            auto answered = [&, i, write](Ramulator::Request &request) {
                done++;
                last = clock;
                if (!write) {
                    reads++;
                    latency += static_cast<uint64_t>(request.depart - request.arrive);
                }
                if (--bursts_left[i] == 0) {
                    bursts_left.erase(i);
                }
            };
            bool accepted = false;
            while (!accepted) {
                const int type = write ? Ramulator::Request::Type::Write : Ramulator::Request::Type::Read;
                const auto place = static_cast<Ramulator::Addr_t>(address + burst * burst_bytes);
                accepted = frontend->receive_external_requests(type, place, 0, answered, static_cast<int>(burst_bytes));
                tick();
            }
            sent++;
        }
    }
    while (done < sent) {
        tick();
    }
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    std::printf("%s,%s,%s,%s,%.3f,%.2f\n", argv[1], argv[2], argv[3], argv[4],
                static_cast<double>(sent * burst_bytes) / (static_cast<double>(last) * clock_ns),
                static_cast<double>(latency) * clock_ns / static_cast<double>(reads));
    std::fprintf(stderr, "%.0f requests per CPU second\n", static_cast<double>(requests) / seconds);
    return 0;
}
