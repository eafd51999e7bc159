// Drives the core of caches through a fake of gem5's port API with a port for each core; the rules are those of ports.cpp.
// What the caches count as read from and written to memory must be what the memory was sent.
#include <memloupe_hierarchy_core.hh>

#include <cstdio>
#include <deque>
#include <map>

namespace {

int failures = 0;

void expect(bool holds, const char *what) {
    if (!holds) {
        std::fprintf(stderr, "hierarchy_ports: %s\n", what);
        failures++;
    }
}

/// A number among the totals of statistics.
uint64_t number(const std::string &json, const std::string &name) {
    const size_t at = json.find("\"" + name + "\":", json.find("\"totals\":"));
    expect(at != std::string::npos, name.c_str());
    return at == std::string::npos ? 0 : std::stoull(json.substr(at + name.size() + 3));
}

struct Packet {
    uint64_t number;
    memloupe_access access;
    bool answers;
};

class Simulator : public memloupe::HierarchyHost<Packet> {
  public:
    Simulator(const char *config, uint64_t seed, uint64_t span_bytes)
        : core_(*this, MACHINE, config), senders_(core_.cores()), random_(seed), span_bytes_(span_bytes) {}

    void run(uint64_t packets) {
        left_ = packets;
        while (left_ > 0 || !core_.isIdle()) {
            const auto port = static_cast<uint32_t>(roll() % senders_.size());
            send(port);
            if (senders_[port].blocked && roll() % 2 == 0) {
                senders_[port].blocked = false;
                core_.responseRetry(port);
                continue;
            }
            if (wake_ == MEMLOUPE_NEVER_PS || roll() % 4 == 0) {
                now_ += wake_ == MEMLOUPE_NEVER_PS || wake_ > now_ + 100 ? 100 : 0;
                continue;
            }
            expect(wake_ >= now_, "an event in the past");
            now_ = wake_;
            wake_ = MEMLOUPE_NEVER_PS;
            core_.wake();
        }
        expect(wake_ == MEMLOUPE_NEVER_PS, "an event is scheduled while nothing is under way");
        expect(idle_, "the host was not told that nothing is under way");
        for (const Sender &sender : senders_) {
            expect(sender.sent.empty(), "a request was not answered");
            expect(sender.refused == nullptr, "a refusal without its retry");
        }
        size_t pending = 0;
        core_.forEachPending([&](Packet *) { pending++; });
        expect(pending == 0, "packets are held while nothing is under way");
    }

    /// Sends one access and returns how long it took.
    uint64_t time(uint32_t port, uint64_t address) {
        const uint64_t begin = now_;
        senders_[port].refused = nullptr;
        offer(port, new Packet{next_++, access(address, MEMLOUPE_LOAD), true});
        uint64_t end = now_;
        for (patient_ = true; !core_.isIdle(); end = last_response_) {
            now_ = wake_;
            wake_ = MEMLOUPE_NEVER_PS;
            core_.wake();
        }
        patient_ = false;
        return end - begin;
    }

    double touch(uint32_t port, uint64_t address) { return core_.touch(port, access(address, MEMLOUPE_LOAD)); }

    uint64_t refusals() const { return refusals_; }
    std::string caches() const { return core_.json(); }
    std::string memory() const { return core_.memory().json(); }

    uint64_t nowPs() const override { return now_; }
    void wakeAt(uint64_t time_ps) override { wake_ = time_ps; }

    bool respond(uint32_t port, Packet *packet) override {
        Sender &sender = senders_[port];
        expect(!sender.blocked, "a response while the last one waits for its retry");
        if (!patient_ && roll() % 4 == 0) {
            sender.blocked = true;
            return false;
        }
        auto &order = sender.sent[packet->access.address / 64];
        expect(!order.empty() && order.front() == packet->number, "responses to a line out of order");
        order.pop_front();
        if (order.empty())
            sender.sent.erase(packet->access.address / 64);
        delete packet;
        last_response_ = now_;
        return true;
    }

    void retryRequest(uint32_t port) override {
        Sender &sender = senders_[port];
        expect(sender.refused != nullptr && !sender.may_retry, "a retry without a refusal");
        sender.may_retry = true;
        send(port);
    }

    void idle() override { idle_ = true; }

  private:
    // Small, so that lines leave it; the requests of a stride prefetcher are lines that nobody waits for at first.
    static constexpr const char *MACHINE =
        "extends = \"desktop\"\n"
        "[cache.l1d]\nsize = \"4 KiB\"\nways = 4\nprefetcher = \"stride\"\n"
        "[cache.l2]\nsize = \"16 KiB\"\n[cache.l3]\nsize = \"64 KiB\"\n";

    struct Sender {
        Packet *refused = nullptr;
        bool may_retry = false;
        bool blocked = false;
        std::map<uint64_t, std::deque<uint64_t>> sent;
    };

    static memloupe_access access(uint64_t address, uint32_t kind) {
        memloupe_access access = {};
        access.address = address;
        access.pc = 0x400000 + kind;
        access.size_bytes = 8;
        access.kind = kind;
        return access;
    }

    uint64_t roll() {
        random_ ^= random_ << 13;
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        return random_;
    }

    void send(uint32_t port) {
        Sender &sender = senders_[port];
        Packet *packet = sender.refused;
        if (packet != nullptr && !sender.may_retry) {
            // A sender that does not wait for its retry is refused, and that is no second refusal.
            if (roll() % 16 == 0)
                expect(!core_.request(port, packet->answers ? packet : nullptr, packet->access),
                       "a request was taken before its retry");
            return;
        }
        if (packet == nullptr) {
            if (left_ == 0)
                return;
            left_--;
            const uint32_t kind = roll() % 3 == 0 ? MEMLOUPE_STORE : MEMLOUPE_LOAD;
            // Some lie across two lines.
            packet = new Packet{next_++, access(roll() % span_bytes_ / 4 * 4, kind), true};
            packet->answers = kind == MEMLOUPE_LOAD || roll() % 2 == 0;
        }
        sender.refused = nullptr;
        sender.may_retry = false;
        offer(port, packet);
    }

    void offer(uint32_t port, Packet *packet) {
        // It may be answered before the call returns only by mistake, so it is noted first.
        const bool answers = packet->answers;
        const uint64_t line = packet->access.address / 64;
        if (!core_.request(port, answers ? packet : nullptr, packet->access, packet->number % 2 * 3000)) {
            refusals_++;
            senders_[port].refused = packet;
            return;
        }
        if (answers)
            senders_[port].sent[line].push_back(packet->number);
        else
            delete packet;
        idle_ = false;
    }

    memloupe::HierarchyCore<Packet> core_;
    std::vector<Sender> senders_;
    uint64_t random_;
    uint64_t span_bytes_;
    uint64_t now_ = 0;
    uint64_t wake_ = MEMLOUPE_NEVER_PS;
    uint64_t next_ = 0;
    uint64_t left_ = 0;
    uint64_t refusals_ = 0;
    uint64_t last_response_ = 0;
    bool idle_ = true;
    bool patient_ = false;
};

} // namespace

int main() {
    const char *config = "[controller]\nread_queue = 4\nwrite_queue = 4\n";
    for (uint64_t seed = 1; seed < 6; seed++) {
        Simulator simulator(config, seed * 0x9e3779b97f4a7c15u, seed % 2 == 0 ? 1 << 20 : 1 << 14);
        simulator.run(5000);
        expect(seed % 2 != 0 || simulator.refusals() > 0, "nothing was refused");
        const std::string caches = simulator.caches(), memory = simulator.memory();
        expect(number(caches, "dram_read_bytes") > 0, "nothing was read from memory");
        expect(number(caches, "dram_read_bytes") == number(memory, "read_bytes"), "reads were lost");
        expect(number(caches, "dram_write_bytes") == number(memory, "write_bytes"), "writes were lost");
    }
    // A memory of 100 ns: a miss takes that, with delay; a hit takes its level's latency; an access without time warms.
    Simulator fixed("model = \"fixed\"\nlatency_ps = 100000\n", 1, 1 << 14);
    expect(fixed.time(0, 4096) == 100000, "a miss does not take its memory's time");
    const uint64_t hit = fixed.time(0, 4104) - 3000;
    expect(hit > 0 && hit < 3000, "a hit does not take its level's time");
    const double cold = fixed.touch(1, 1 << 13), warm = fixed.touch(1, 1 << 13);
    expect(cold > warm && static_cast<uint64_t>(warm * 1000) == hit, "an access without time does not warm the caches");
    expect(fixed.time(1, 1 << 13) == hit, "an access without time leaves its lines");
    return failures != 0;
}
