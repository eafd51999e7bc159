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
 * A write is done when Ramulator issues its command.
 *
 * Seen with DDR4-3200AA, one rank, 20,000 requests sequential and random, reads alone and with writes, each 20 ns and as fast as
 * they are taken: end and mean latency of reads are those of memloupe's own model to 0.1 ns, writes 12.5 ns less, the time from
 * command to end of data. */
#include "clocked_memory.hh"

#include <ramulator/base/config.h>
#include <ramulator/base/factory.h>
#include <ramulator/base/request.h>
#include <ramulator/frontend/i_frontend.h>
#include <ramulator/memory_system/i_memory_system.h>

namespace {

class Ramulator2 : public memloupe::ClockedMemory {
  public:
    explicit Ramulator2(const char *parameters) {
        auto config = Ramulator::Config::parse_config_file(parameters);
        frontend_.reset(Ramulator::Factory::create_frontend(config));
        system_.reset(Ramulator::Factory::create_memory_system(config));
        frontend_->connect_memory_system(system_.get());
        system_->connect_frontend(frontend_.get());
        set_clock_ns(static_cast<double>(system_->get_tCK()));
    }

  private:
    uint32_t burst_bytes() const override { return static_cast<uint32_t>(system_->get_tx_bytes()); }

    void tick() override { system_->tick(); }

    bool offer(uint64_t id, uint64_t address, bool write, uint32_t core) override {
        const int type = write ? Ramulator::Request::Type::Write : Ramulator::Request::Type::Read;
        return frontend_->receive_external_requests(
            type, static_cast<Ramulator::Addr_t>(address), static_cast<int>(core),
            [this, id](Ramulator::Request &) { done(id); }, system_->get_tx_bytes());
    }

    std::unique_ptr<Ramulator::IFrontEnd> frontend_;
    std::unique_ptr<Ramulator::IMemorySystem> system_;
};

} // namespace

extern "C" const memloupe_dram *memloupe_dram_memory(void) { return memloupe::ClockedMemory::table<Ramulator2>(); }
