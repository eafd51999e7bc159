// What the caches of a machine of memloupe do above its memory and below a simulator's ports, one for each core, without a
// simulator: an access is simulated when it is taken; a hit is answered after its level's latency, a miss when its lines have come
// from the memory.
//
// An access to a line that is on its way waits for it, as one does in a miss status register. While the memory has no room
// for what left the caches, all ports are refused. Responses to one line come in the order of a port's requests.
//
// Not modelled: ports' bandwidth, limits of misses under way, the time of lookups that miss.
#ifndef MEMLOUPE_HIERARCHY_CORE_HH
#define MEMLOUPE_HIERARCHY_CORE_HH

#include <memloupe_core.hh>

#include <algorithm>
#include <unordered_set>

namespace memloupe {

/// The simulator around caches. Packet is whatever it calls a request that can be answered.
template <typename Packet>
class HierarchyHost
{
  public:
    virtual ~HierarchyHost() = default;
    /// Now, in picoseconds.
    virtual uint64_t nowPs() const = 0;
    /// Call HierarchyCore::wake() then; replaces what was asked for before.
    virtual void wakeAt(uint64_t time_ps) = 0;
    /// Sends a response; false if it can't be taken now and HierarchyCore::responseRetry() will follow.
    virtual bool respond(uint32_t port, Packet *packet) = 0;
    /// Lets the sender at the port that was refused try again; it may do so before this returns.
    virtual void retryRequest(uint32_t port) = 0;
    /// Nothing is under way any more.
    virtual void idle() = 0;
};

/// An access that waits for lines.
template <typename Packet>
struct Miss
{
    Packet *packet;
    uint32_t port;
    uint64_t line;
    uint64_t delay_ps;
    unsigned missing;
};

/// What is on its way from the memory, and who waits for it.
template <typename Packet>
struct Fetch
{
    uint64_t address;
    uint64_t bytes;
    std::vector<Miss<Packet> *> waiting;
};

/// Caches below a port for each core, and the memory below them.
template <typename Packet>
class HierarchyCore : private Host<Fetch<Packet>>
{
  public:
    /// machine and config as MemoryCore takes them.
    HierarchyCore(HierarchyHost<Packet> &host, const std::string &machine, const std::string &config)
        : host(host), memory_(*this, machine, config)
    {
        memloupe_system *made = nullptr;
        const bool is_text = machine.find('\n') != std::string::npos;
        check((is_text ? memloupe_system_create_from_toml : memloupe_system_create)(machine.c_str(), &made));
        system.reset(made);
        uint32_t cores = 0;
        check(memloupe_system_core_count(made, &cores));
        check(memloupe_system_reserve_owners(made, cores));
        check(memloupe_system_on_line(made, &HierarchyCore::left, this));
        ports.resize(cores);
    }

    HierarchyCore(const HierarchyCore &) = delete;
    HierarchyCore &operator=(const HierarchyCore &) = delete;

    ~HierarchyCore() override
    {
        for (Miss<Packet> *miss : misses)
            delete miss;
    }

    /// How many ports there are.
    uint32_t
    cores() const
    {
        return static_cast<uint32_t>(ports.size());
    }

    /// An access of a port's core at the host's time. False if it is refused: HierarchyHost::retryRequest will follow. If
    /// no response is wanted, packet is null. The response is due delay_ps after the data is there.
    bool
    request(uint32_t port, Packet *packet, const memloupe_access &what, uint64_t delay_ps = 0)
    {
        // One refusal, one retry: who comes again before it is told is refused without a second one.
        if (!unsent.empty() || ports[port].refused) {
            ports[port].refused = true;
            return false;
        }
        const memloupe_answer answer = simulate(port, what);
        if (packet != nullptr) {
            const uint64_t line = what.address / LINE_BYTES;
            auto *miss = new Miss<Packet>{packet, port, line, delay_ps, 0};
            waitFor(miss, what.address, what.address + what.size_bytes);
            if (miss->missing > 0) {
                misses.insert(miss);
            } else {
                delete miss;
                const auto latency_ps = static_cast<uint64_t>(answer.latency_ns * 1000);
                ports[port].responses.add({host.nowPs() + latency_ps + delay_ps, packet, line});
            }
        }
        sendLines();
        reschedule();
        return true;
    }

    /// An access without time: the caches change, the memory is not asked. Returns what it would take when nothing else
    /// is under way.
    double
    touch(uint32_t port, const memloupe_access &what)
    {
        is_timed = false;
        const memloupe_answer answer = simulate(port, what);
        is_timed = true;
        return answer.latency_ns;
    }

    /// Makes all lines clean, without time.
    void
    clean()
    {
        is_timed = false;
        check(memloupe_system_flush(system.get()));
        is_timed = true;
    }

    /// The time that was asked for has come.
    void
    wake()
    {
        if (memory_wake <= host.nowPs()) {
            memory_wake = MEMLOUPE_NEVER_PS;
            memory_.wake();
        }
        for (uint32_t port = 0; port < cores(); port++)
            sendResponses(port);
        retryPorts();
        settle();
    }

    /// A response that was not taken can be sent again.
    void
    responseRetry(uint32_t port)
    {
        ports[port].responses.blocked = false;
        sendResponses(port);
        settle();
    }

    /// Whether nothing is under way.
    bool
    isIdle() const
    {
        const auto answered = [](const Port &port) { return port.responses.queue.empty(); };
        return unsent.empty() && memory_.isIdle() && std::all_of(ports.begin(), ports.end(), answered);
    }

    /// Calls visit with every packet that was accepted and not answered, for functional accesses.
    template <typename Visit>
    void
    forEachPending(Visit visit)
    {
        for (const Port &port : ports) {
            for (const auto &response : port.responses.queue)
                visit(response.packet);
        }
        for (const Miss<Packet> *miss : misses)
            visit(miss->packet);
    }

    /// The memory, for its state and its numbers.
    MemoryCore<Fetch<Packet>> &memory() { return memory_; }
    const MemoryCore<Fetch<Packet>> &memory() const { return memory_; }

    /// The numbers that statistic() knows.
    uint32_t
    statisticCount() const
    {
        uint32_t count = 0;
        check(memloupe_system_statistic_count(system.get(), &count));
        return count;
    }

    memloupe_statistic
    statisticAbout(uint32_t index) const
    {
        memloupe_statistic about = {};
        check(memloupe_system_statistic_about(system.get(), index, &about));
        return about;
    }

    /// What the caches of all cores counted.
    double
    statistic(const char *name) const
    {
        double value = 0;
        check(memloupe_system_statistic(system.get(), name, &value));
        return value;
    }

    /// The same as JSON.
    std::string
    json() const
    {
        size_t needed = 0;
        memloupe_system_statistics_json(system.get(), nullptr, 0, &needed);
        std::vector<char> text(needed);
        check(memloupe_system_statistics_json(system.get(), text.data(), text.size(), &needed));
        return text.data();
    }

  private:
    /// What responses are kept in order by, and fetches are found by.
    static constexpr uint64_t LINE_BYTES = 64;

    struct Port
    {
        Responses<Packet> responses;
        bool refused = false;
    };

    /// A line that left the caches and was not sent yet; fetch is null for one that is written.
    struct Unsent
    {
        memloupe_request request;
        Fetch<Packet> *fetch;
    };

    struct Destroy
    {
        void operator()(memloupe_system *system) const { memloupe_system_destroy(system); }
    };

    memloupe_answer
    simulate(uint32_t port, const memloupe_access &what)
    {
        memloupe_access access = what;
        access.core = access.owner = port;
        memloupe_answer answer = {};
        check(memloupe_system_access(system.get(), &access, &answer));
        return answer;
    }

    /// A callback may not call its handle, nor need the memory have room: lines wait.
    static void
    left(void *core, uint64_t address, uint64_t bytes, bool write, uint32_t owner)
    {
        auto *self = static_cast<HierarchyCore *>(core);
        if (!self->is_timed)
            return;
        Unsent line = {};
        line.request.address = address;
        line.request.size_bytes = static_cast<uint32_t>(bytes);
        line.request.kind = write ? MEMLOUPE_REQUEST_WRITEBACK : MEMLOUPE_REQUEST_READ;
        line.request.core = line.request.tag = owner;
        if (!write) {
            auto fetch = std::make_unique<Fetch<Packet>>(Fetch<Packet>{address, bytes, {}});
            line.fetch = fetch.get();
            for (uint64_t block = address / LINE_BYTES; block * LINE_BYTES < address + bytes; block++)
                self->blocks.emplace(block, fetch.get());
            self->fetches.emplace(fetch.get(), std::move(fetch));
        }
        self->unsent.push_back(line);
    }

    /// A miss waits for all that is under way of its bytes.
    void
    waitFor(Miss<Packet> *miss, uint64_t begin, uint64_t end)
    {
        for (uint64_t block = begin / LINE_BYTES; block * LINE_BYTES < end; block++) {
            const auto range = blocks.equal_range(block);
            for (auto place = range.first; place != range.second; ++place) {
                Fetch<Packet> *fetch = place->second;
                const bool overlaps = fetch->address < end && begin < fetch->address + fetch->bytes;
                // Of a fetch of several blocks, the first one that the access touches counts.
                const uint64_t first = std::max(fetch->address, begin) / LINE_BYTES;
                if (overlaps && block == first) {
                    fetch->waiting.push_back(miss);
                    miss->missing++;
                }
            }
        }
    }

    void
    sendLines()
    {
        while (!unsent.empty() && memory_.request(unsent.front().fetch, unsent.front().request))
            unsent.pop_front();
    }

    void
    retryPorts()
    {
        for (uint32_t tried = 0; tried < cores() && unsent.empty(); tried++) {
            // The port behind the last one that was told comes first, so that none starves.
            next_port = (next_port + 1) % cores();
            if (ports[next_port].refused) {
                ports[next_port].refused = false;
                host.retryRequest(next_port);
            }
        }
    }

    void
    sendResponses(uint32_t port)
    {
        ports[port].responses.send(host.nowPs(),
                                   [this, port](Packet *packet) { return host.respond(port, packet); });
    }

    void
    reschedule()
    {
        uint64_t next = memory_wake;
        for (const Port &port : ports)
            next = std::min(next, port.responses.nextPs());
        if (next != MEMLOUPE_NEVER_PS)
            host.wakeAt(std::max(next, host.nowPs()));
    }

    void
    settle()
    {
        reschedule();
        if (isIdle())
            host.idle();
    }

    // Host of the memory
    uint64_t nowPs() const override { return host.nowPs(); }
    void wakeAt(uint64_t time_ps) override { memory_wake = time_ps; }
    void retryRequest() override { sendLines(); }
    void idle() override {}

    bool
    respond(Fetch<Packet> *fetch) override
    {
        for (Miss<Packet> *miss : fetch->waiting) {
            if (--miss->missing > 0)
                continue;
            ports[miss->port].responses.add({host.nowPs() + miss->delay_ps, miss->packet, miss->line});
            misses.erase(miss);
            delete miss;
        }
        for (uint64_t block = fetch->address / LINE_BYTES; block * LINE_BYTES < fetch->address + fetch->bytes; block++) {
            const auto range = blocks.equal_range(block);
            for (auto place = range.first; place != range.second; ++place) {
                if (place->second == fetch) {
                    blocks.erase(place);
                    break;
                }
            }
        }
        fetches.erase(fetch);
        return true;
    }

    HierarchyHost<Packet> &host;
    MemoryCore<Fetch<Packet>> memory_;
    std::unique_ptr<memloupe_system, Destroy> system;
    std::vector<Port> ports;
    std::deque<Unsent> unsent;
    std::unordered_map<const Fetch<Packet> *, std::unique_ptr<Fetch<Packet>>> fetches;
    std::unordered_multimap<uint64_t, Fetch<Packet> *> blocks;
    std::unordered_set<Miss<Packet> *> misses;
    uint64_t memory_wake = MEMLOUPE_NEVER_PS;
    uint32_t next_port = 0;
    bool is_timed = true;
};

} // namespace memloupe

#endif // MEMLOUPE_HIERARCHY_CORE_HH
