// What a memory of memloupe does below a simulator's ports, without a simulator: requests in, refusals and one retry for
// each, responses out in the order in which they are due, events only when the model has one.
//
// Responses to one line come in the order of its requests: a host that moves data with the response, or hands out
// exclusive copies, needs no more.
//
// The adapters of gem5 and SST are Hosts of it; so is the fake of the port API that the test drives it through.
#ifndef MEMLOUPE_CORE_HH
#define MEMLOUPE_CORE_HH

#include <memloupe.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace memloupe {

/// Turns a status into an exception that says what was wrong.
inline void
check(memloupe_status status)
{
    if (status != MEMLOUPE_OK)
        throw std::runtime_error(memloupe_last_error());
}

/// The simulator around a memory. Packet is whatever it calls a request that can be answered.
template <typename Packet>
class Host
{
  public:
    virtual ~Host() = default;
    /// Now, in picoseconds.
    virtual uint64_t nowPs() const = 0;
    /// Call MemoryCore::wake() then; replaces what was asked for before.
    virtual void wakeAt(uint64_t time_ps) = 0;
    /// Sends a response; false if it can't be taken now and MemoryCore::responseRetry() will follow.
    virtual bool respond(Packet *packet) = 0;
    /// Lets the sender that was refused try again; it may do so before this returns.
    virtual void retryRequest() = 0;
    /// Nothing is under way any more.
    virtual void idle() = 0;
};

/// Responses on their way back to one port, in the order in which they are due; those to one line in the order in which
/// they came in.
template <typename Packet>
class Responses
{
  public:
    struct Response
    {
        uint64_t due_ps;
        Packet *packet;
        uint64_t line;
    };

    void
    add(Response response)
    {
        // Mostly the last; where latencies mix, behind those that are due no later and behind its line's.
        auto place = queue.end();
        while (place != queue.begin() && (place - 1)->due_ps > response.due_ps &&
               (place - 1)->line != response.line)
            --place;
        if (place != queue.begin() && (place - 1)->due_ps > response.due_ps)
            response.due_ps = (place - 1)->due_ps;
        queue.insert(place, response);
    }

    /// Sends what is due by now, until one is not taken.
    template <typename Respond>
    void
    send(uint64_t now_ps, Respond respond)
    {
        while (!blocked && !queue.empty() && queue.front().due_ps <= now_ps) {
            const Response response = queue.front();
            // Out of the queue first: sending may bring in the next request before it returns.
            queue.pop_front();
            if (!respond(response.packet)) {
                queue.push_front(response);
                blocked = true;
            }
        }
    }

    /// When the next one is due, if it can be sent.
    uint64_t
    nextPs() const
    {
        return blocked || queue.empty() ? MEMLOUPE_NEVER_PS : queue.front().due_ps;
    }

    std::deque<Response> queue;
    /// The last one was not taken; it waits for a retry.
    bool blocked = false;
};

/// A memory below one port.
template <typename Packet>
class MemoryCore
{
  public:
    /// machine is a preset, a path, or the text of a machine file (which has lines); config as in memloupe.h.
    MemoryCore(Host<Packet> &host, const std::string &machine, const std::string &config)
        : host(host)
    {
        memloupe_memory *made = nullptr;
        const bool is_text = machine.find('\n') != std::string::npos;
        check((is_text ? memloupe_memory_create_from_toml : memloupe_memory_create)(
            machine.c_str(), config.c_str(), &made));
        memory.reset(made);
        check(memloupe_memory_on_completion(made, &MemoryCore::completed, this));
    }

    MemoryCore(const MemoryCore &) = delete;
    MemoryCore &operator=(const MemoryCore &) = delete;

    /// A request at the host's time. False if it is refused: Host::retryRequest will follow. If no response is wanted,
    /// packet is null, and the request takes its time all the same. The response is due delay_ps after the model is done.
    bool
    request(Packet *packet, const memloupe_request &what, uint64_t delay_ps = 0)
    {
        // One refusal, one retry: who comes again before it is told is refused without a second one.
        if (refused)
            return false;
        memloupe_request request = what;
        request.id = hold({packet, what.address / LINE_BYTES, delay_ps, false});
        bool accepted = false;
        check(memloupe_memory_send(memory.get(), host.nowPs(), &request, &accepted));
        if (!accepted) {
            drop(request.id);
            refused = true;
        }
        reschedule();
        return accepted;
    }

    /// A response that does not wait for the model, of a request to this address.
    void
    answerAt(uint64_t due_ps, Packet *packet, uint64_t address)
    {
        responses.add({due_ps, packet, address / LINE_BYTES});
        reschedule();
    }

    /// The time that was asked for has come.
    void
    wake()
    {
        check(memloupe_memory_advance(memory.get(), host.nowPs()));
        sendResponses();
        if (refused) {
            refused = false;
            host.retryRequest();
        }
        reschedule();
        if (isIdle())
            host.idle();
    }

    /// A response that was not taken can be sent again.
    void
    responseRetry()
    {
        responses.blocked = false;
        sendResponses();
        reschedule();
        if (isIdle())
            host.idle();
    }

    /// Whether nothing is under way, neither in the model nor on its way back.
    bool
    isIdle() const
    {
        uint64_t count = 0;
        check(memloupe_memory_outstanding(memory.get(), &count));
        return count == 0 && responses.queue.empty();
    }

    /// Calls visit with every packet that was accepted and not answered, for functional accesses.
    template <typename Visit>
    void
    forEachPending(Visit visit)
    {
        for (const auto &response : responses.queue)
            visit(response.packet);
        for (const Held &place : held) {
            if (place.packet != nullptr)
                visit(place.packet);
        }
    }

    /// The model's state while nothing is under way.
    std::vector<uint8_t>
    save() const
    {
        size_t needed = 0;
        memloupe_memory_checkpoint(memory.get(), nullptr, 0, &needed);
        std::vector<uint8_t> bytes(needed);
        check(memloupe_memory_checkpoint(memory.get(), bytes.data(), bytes.size(), &needed));
        return bytes;
    }

    void
    load(const std::vector<uint8_t> &bytes)
    {
        check(memloupe_memory_restore(memory.get(), bytes.data(), bytes.size()));
    }

    /// What is under way around the model, for a host that is saved at any time. number turns a packet into what
    /// loadUnderWay's packet turns into a packet again.
    template <typename Number>
    std::vector<uint64_t>
    saveUnderWay(Number number) const
    {
        std::vector<uint64_t> words = {refused, responses.blocked, held.size()};
        for (const Held &place : held) {
            words.insert(words.end(), {place.packet != nullptr, place.packet != nullptr ? number(place.packet) : 0,
                                       place.line, place.delay_ps, place.done});
        }
        words.push_back(free_places.size());
        words.insert(words.end(), free_places.begin(), free_places.end());
        words.push_back(lines.size());
        for (const auto &line : lines) {
            words.insert(words.end(), {line.first, line.second.size()});
            words.insert(words.end(), line.second.begin(), line.second.end());
        }
        words.push_back(responses.queue.size());
        for (const auto &response : responses.queue)
            words.insert(words.end(), {response.due_ps, number(response.packet), response.line});
        return words;
    }

    /// Takes the place of what was under way, of which there must be nothing.
    template <typename Packets>
    void
    loadUnderWay(const std::vector<uint64_t> &words, Packets packet)
    {
        size_t at = 0;
        const auto next = [&] {
            if (at == words.size())
                throw std::runtime_error("memloupe: a checkpoint ends too early");
            return words[at++];
        };
        refused = next() != 0;
        responses.blocked = next() != 0;
        held.clear();
        for (uint64_t count = next(); count > 0; count--) {
            const bool answers = next() != 0;
            const uint64_t number = next();
            Held place;
            place.packet = answers ? packet(number) : nullptr;
            place.line = next();
            place.delay_ps = next();
            place.done = next() != 0;
            held.push_back(place);
        }
        free_places.clear();
        for (uint64_t count = next(); count > 0; count--)
            free_places.push_back(next());
        lines.clear();
        for (uint64_t count = next(); count > 0; count--) {
            std::deque<uint64_t> &order = lines[next()];
            for (uint64_t places = next(); places > 0; places--)
                order.push_back(next());
        }
        responses.queue.clear();
        for (uint64_t count = next(); count > 0; count--) {
            const uint64_t due_ps = next();
            Packet *answered = packet(next());
            responses.queue.push_back({due_ps, answered, next()});
        }
    }

    double
    statistic(const char *name) const
    {
        double value = 0;
        check(memloupe_memory_statistic(memory.get(), name, &value));
        return value;
    }

    std::string
    json() const
    {
        size_t needed = 0;
        memloupe_memory_statistics_json(memory.get(), nullptr, 0, &needed);
        std::vector<char> text(needed);
        check(memloupe_memory_statistics_json(memory.get(), text.data(), text.size(), &needed));
        return text.data();
    }

  private:
    /// What is kept in order: no smaller than any host's line.
    static constexpr uint64_t LINE_BYTES = 64;

    /// A request under way.
    struct Held
    {
        Packet *packet = nullptr;
        uint64_t line = 0;
        uint64_t delay_ps = 0;
        bool done = false;
    };

    struct Destroy
    {
        void operator()(memloupe_memory *memory) const { memloupe_memory_destroy(memory); }
    };

    static void
    completed(void *core, const memloupe_completion *completion)
    {
        auto *self = static_cast<MemoryCore *>(core);
        self->held[completion->id].done = true;
        // With it go those behind it that were done earlier; if one before it is not done, it waits.
        const auto line = self->lines.find(self->held[completion->id].line);
        std::deque<uint64_t> &order = line->second;
        while (!order.empty() && self->held[order.front()].done) {
            Held &first = self->held[order.front()];
            if (first.packet != nullptr)
                self->responses.add({completion->finished_ps + first.delay_ps, first.packet, first.line});
            self->free_places.push_back(order.front());
            first = Held();
            order.pop_front();
        }
        if (order.empty())
            self->lines.erase(line);
    }

    uint64_t
    hold(const Held &request)
    {
        if (free_places.empty()) {
            free_places.push_back(held.size());
            held.emplace_back();
        }
        const uint64_t place = free_places.back();
        free_places.pop_back();
        held[place] = request;
        lines[request.line].push_back(place);
        return place;
    }

    /// Undoes hold().
    void
    drop(uint64_t place)
    {
        const auto line = lines.find(held[place].line);
        line->second.pop_back();
        if (line->second.empty())
            lines.erase(line);
        held[place] = Held();
        free_places.push_back(place);
    }

    void
    sendResponses()
    {
        responses.send(host.nowPs(), [this](Packet *packet) { return host.respond(packet); });
    }

    void
    reschedule()
    {
        uint64_t next = MEMLOUPE_NEVER_PS;
        check(memloupe_memory_next_event(memory.get(), &next));
        if (responses.nextPs() < next)
            next = responses.nextPs();
        if (next != MEMLOUPE_NEVER_PS)
            host.wakeAt(next < host.nowPs() ? host.nowPs() : next);
    }

    Host<Packet> &host;
    std::unique_ptr<memloupe_memory, Destroy> memory;
    /// By the id of their request.
    std::vector<Held> held;
    std::vector<uint64_t> free_places;
    /// Requests under way to each line, in their order.
    std::unordered_map<uint64_t, std::deque<uint64_t>> lines;
    Responses<Packet> responses;
    bool refused = false;
};

} // namespace memloupe

#endif // MEMLOUPE_CORE_HH
