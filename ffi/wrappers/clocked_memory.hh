/* A simulator that works clock by clock as a memory of memloupe: what the wrappers of this folder have in common.
 *
 * Every clock is simulated, idle ones too, since refreshes pass in them: a long pause costs what its clocks cost. */
#ifndef MEMLOUPE_CLOCKED_MEMORY_HH
#define MEMLOUPE_CLOCKED_MEMORY_HH

#include <memloupe_plugin.h>

#include <cmath>
#include <cstdio>
#include <deque>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

namespace memloupe {

/// A memory with a clock. Its simulator reports through done().
class ClockedMemory {
  public:
    virtual ~ClockedMemory() = default;
    ClockedMemory(const ClockedMemory &) = delete;
    ClockedMemory &operator=(const ClockedMemory &) = delete;

    /// The library's functions, with memories of type Wrapped.
    template <typename Wrapped>
    static const memloupe_dram *table() {
        static const memloupe_dram table = {
            MEMLOUPE_PLUGIN_VERSION, create<Wrapped>, destroy, burst_bytes, send, next_event, advance};
        return &table;
    }

  protected:
    ClockedMemory() = default;

    /// Says how long a clock is; a constructor's duty.
    void set_clock_ns(double clock_ns) {
        clock_ps_ = static_cast<uint64_t>(std::llround(clock_ns * 1000));
        if (clock_ps_ == 0)
            throw std::runtime_error("its clock is " + std::to_string(clock_ns) + " ns");
    }

    /// A burst is done in this clock.
    void done(uint64_t id) {
        under_way_--;
        done_.push_back({id, clock_ * clock_ps_});
    }

    /// What its simulator cuts requests into.
    virtual uint32_t burst_bytes() const = 0;
    /// Simulates one clock.
    virtual void tick() = 0;
    /// Offers a burst; false to refuse it.
    virtual bool offer(uint64_t id, uint64_t address, bool write, uint32_t core) = 0;

  private:
    static ClockedMemory *of(void *state) { return static_cast<ClockedMemory *>(state); }

    template <typename Wrapped>
    static void *create(const char *parameters, char *error, size_t error_bytes) {
        try {
            std::unique_ptr<ClockedMemory> memory = std::make_unique<Wrapped>(parameters);
            return memory.release();
        } catch (const std::exception &failure) {
            std::snprintf(error, error_bytes, "%s", failure.what());
            return nullptr;
        }
    }

    static void destroy(void *state) { delete of(state); }

    static uint32_t burst_bytes(void *state) { return of(state)->burst_bytes(); }

    static uint32_t send(void *state, uint64_t now_ps, uint64_t id, uint64_t address, uint32_t write, uint32_t core) {
        ClockedMemory *memory = of(state);
        memory->tick_to(now_ps);
        memory->under_way_++;
        if (memory->offer(id, address, write != 0, core))
            return 1;
        memory->under_way_--;
        memory->refused_ = true;
        return 0;
    }

    static uint64_t next_event(void *state) {
        const ClockedMemory *memory = of(state);
        const bool is_idle = memory->under_way_ == 0 && memory->done_.empty() && !memory->refused_;
        return is_idle ? UINT64_MAX : (memory->clock_ + 1) * memory->clock_ps_;
    }

    static uint32_t advance(void *state, uint64_t until_ps, memloupe_dram_completion *done, uint32_t most) {
        ClockedMemory *memory = of(state);
        memory->tick_to(until_ps);
        uint32_t count = 0;
        while (count < most && !memory->done_.empty()) {
            done[count++] = memory->done_.front();
            memory->done_.pop_front();
        }
        return count;
    }

    void tick_to(uint64_t until_ps) {
        while ((clock_ + 1) * clock_ps_ <= until_ps) {
            tick();
            clock_++;
            refused_ = false;
        }
    }

    uint64_t clock_ps_ = 0;
    uint64_t clock_ = 0; // done so far
    uint64_t under_way_ = 0;
    bool refused_ = false;
    std::deque<memloupe_dram_completion> done_;
};

} // namespace memloupe

#endif // MEMLOUPE_CLOCKED_MEMORY_HH
