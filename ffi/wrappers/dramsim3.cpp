/* DRAMsim3 as a memory of memloupe.
 *
 * Parameters: the path of one of its configurations, and after a blank the folder for the statistics that it writes itself
 * every epoch ("." without). It is built by who has DRAMsim3 (its folder: $DRAMSIM3, with libdramsim3.so):
 *
 *   c++ -std=c++17 -O2 -shared -fPIC -I $DRAMSIM3/src -I $MEMLOUPE/include dramsim3.cpp
 *       -L $DRAMSIM3 -ldramsim3 -Wl,-rpath,$DRAMSIM3 -o libmemloupe_dramsim3.so
 *
 * and named by a memloupe_memory's configuration: model = "library", library = "./libmemloupe_dramsim3.so",
 * library_parameters = "DDR4_8Gb_x8_3200.ini results".
 *
 * A write is done one clock after DRAMsim3 took it, whenever its data goes out: DRAMsim3 reports no more. A mistake in the
 * configuration ends the process, as DRAMsim3 does it; that the file can be read is checked here.
 *
 * Seen with DDR4_8Gb_x8_3200.ini (of commit 29817593b3), 20,000 reads each 20 ns: 28.8 ns sequential and 57.1 random beside 29.4 and 59.6
 * of memloupe's own model with RoBaRaCoCh; as fast as they are taken 16.8 and 20.5 GB/s beside 15.8 and 11.1, since a queue of 8 for
 * each bank behind that of 32 looks further ahead. */
#include "clocked_memory.hh"

#include <dramsim3.h>

#include <fstream>
#include <map>
#include <utility>

namespace {

class Dramsim3 : public memloupe::ClockedMemory {
  public:
    explicit Dramsim3(const std::string &parameters) {
        const size_t blank = parameters.find(' ');
        const std::string config = parameters.substr(0, blank);
        const std::string folder = blank == std::string::npos ? "." : parameters.substr(blank + 1);
        if (!std::ifstream(config))
            throw std::runtime_error(config + ": cannot be read");
        system_.reset(dramsim3::GetMemorySystem(
            config, folder, [this](uint64_t address) { answered(address, false); },
            [this](uint64_t address) { answered(address, true); }));
        set_clock_ns(system_->GetTCK());
    }

  private:
    uint32_t burst_bytes() const override {
        return static_cast<uint32_t>(system_->GetBusBits() / 8 * system_->GetBurstLength());
    }

    void tick() override { system_->ClockTick(); }

    bool offer(uint64_t id, uint64_t address, bool write, uint32_t) override {
        if (!system_->WillAcceptTransaction(address, write))
            return false;
        system_->AddTransaction(address, write);
        waiting_[{address, write}].push_back(id);
        return true;
    }

    /// It answers by address: of bursts alike, the oldest.
    void answered(uint64_t address, bool write) {
        const auto place = waiting_.find({address, write});
        done(place->second.front());
        place->second.pop_front();
        if (place->second.empty())
            waiting_.erase(place);
    }

    std::unique_ptr<dramsim3::MemorySystem> system_;
    std::map<std::pair<uint64_t, bool>, std::deque<uint64_t>> waiting_;
};

} // namespace

extern "C" const memloupe_dram *memloupe_dram_memory(void) { return memloupe::ClockedMemory::table<Dramsim3>(); }
