// Drives the core of the adapters through a fake of gem5's port API that checks its rules: a refusal is followed by
// exactly one retry, a response that was not taken is sent again only after its retry, responses to one line come in the
// order of its requests, every request is answered once, and nothing is scheduled while nothing is under way.
#include <memloupe_core.hh>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

namespace {

int failures = 0;

void expect(bool holds, const char *what) {
    if (!holds) {
        std::fprintf(stderr, "ports: %s\n", what);
        failures++;
    }
}

struct Packet {
    uint64_t number;
    uint64_t address;
    uint32_t bytes;
    bool write;
    bool answers;
};

/// The simulator: one event of the memory's, a sender, time.
class Simulator : public memloupe::Host<Packet> {
  public:
    Simulator(const char *config, uint64_t seed) : core_(*this, "desktop", config), random_(seed) {}

    /// Sends so many packets as fast as they are taken, taking only some responses at once.
    void run(uint64_t packets) {
        left_ += packets;
        runUntil(UINT64_MAX);
        expect(wake_ == MEMLOUPE_NEVER_PS, "an event is scheduled while nothing is under way");
        expect(sent_.empty(), "a request was not answered");
        expect(idle_, "the host was not told that nothing is under way");
        expect(retries_ == refusals_, "a refusal without its one retry");
    }

    /// The first so many events of it.
    void begin(uint64_t packets, uint64_t events) {
        left_ += packets;
        runUntil(events);
    }

    void runUntil(uint64_t events) {
        while (events_ < events && (left_ > 0 || !core_.isIdle())) {
            send();
            if (blocked_ && roll() % 3 == 0) {
                blocked_ = false;
                core_.responseRetry();
                continue;
            }
            if (wake_ == MEMLOUPE_NEVER_PS) {
                expect(blocked_, "requests are under way and no event is scheduled");
                now_ += 1000;
                continue;
            }
            expect(wake_ >= now_, "an event in the past");
            now_ = wake_;
            wake_ = MEMLOUPE_NEVER_PS;
            events_++;
            core_.wake();
        }
    }

    /// The same in a new simulator, whatever is under way; the packets change hands.
    void takeOver(Simulator &other) {
        std::map<uint64_t, Packet *> packets;
        const auto words = other.core_.saveUnderWay([&](Packet *packet) {
            packets[packet->number] = packet;
            return packet->number;
        });
        core_.load(other.core_.save());
        core_.loadUnderWay(words, [&](uint64_t number) { return packets.at(number); });
        try {
            const std::vector<uint64_t> part(words.begin(), words.end() - 1);
            Simulator damaged("[controller]\nread_queue = 4\nwrite_queue = 4\n", 1);
            damaged.core_.loadUnderWay(part, [&](uint64_t number) { return packets.at(number); });
            expect(false, "a checkpoint that ends too early was taken");
        } catch (const std::runtime_error &) {
        }
        random_ = other.random_;
        now_ = other.now_;
        wake_ = other.wake_;
        next_ = other.next_;
        left_ = other.left_;
        refusals_ = other.refusals_;
        retries_ = other.retries_;
        refused_ = other.refused_;
        blocked_ = other.blocked_;
        idle_ = other.idle_;
        sent_ = other.sent_;
    }

    /// The same state in a new simulator.
    void restoreFrom(const Simulator &other) {
        now_ = other.now_;
        next_ = other.next_;
        random_ = other.random_;
        core_.load(other.core_.save());
    }

    std::string json() const { return core_.json(); }
    uint64_t now() const { return now_; }
    uint64_t refusals() const { return refusals_; }
    uint64_t events() const { return events_; }
    size_t pending() {
        size_t count = 0;
        core_.forEachPending([&](Packet *) { count++; });
        return count;
    }

    uint64_t nowPs() const override { return now_; }

    void wakeAt(uint64_t time_ps) override { wake_ = time_ps; }

    bool respond(Packet *packet) override {
        expect(!blocked_, "a response while the last one waits for its retry");
        if (roll() % 4 == 0) {
            blocked_ = true;
            return false;
        }
        auto &order = sent_[packet->address / 64];
        expect(!order.empty() && order.front() == packet->number, "responses to a line out of order");
        order.pop_front();
        if (order.empty())
            sent_.erase(packet->address / 64);
        delete packet;
        return true;
    }

    void retryRequest() override {
        expect(refused_ != nullptr, "a retry without a refusal");
        retries_++;
        send();
    }

    void idle() override { idle_ = true; }

  private:
    uint64_t roll() {
        random_ ^= random_ << 13;
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        return random_;
    }

    void send() {
        const bool retry = refused_ != nullptr;
        if (retry && retries_ < refusals_) {
            // A sender that does not wait for its retry is refused, and that is no second refusal.
            if (roll() % 16 == 0)
                expect(!offer(refused_), "a request was taken before its retry");
            return;
        }
        Packet *packet = retry ? refused_ : nullptr;
        if (packet == nullptr) {
            if (left_ == 0)
                return;
            left_--;
            packet = new Packet{next_++, roll() % (1 << 14) / 8 * 8, 8, roll() % 3 == 0, true};
            packet->answers = !packet->write || roll() % 2 == 0;
        }
        refused_ = nullptr;
        if (!offer(packet)) {
            refusals_++;
            refused_ = packet;
            return;
        }
        if (packet->answers)
            sent_[packet->address / 64].push_back(packet->number);
        else
            delete packet;
        idle_ = false;
    }

    bool offer(Packet *packet) {
        memloupe_request request = {};
        request.address = packet->address;
        request.size_bytes = packet->bytes;
        request.kind = packet->write ? MEMLOUPE_REQUEST_WRITE : MEMLOUPE_REQUEST_READ;
        return core_.request(packet->answers ? packet : nullptr, request, packet->number % 2 * 3000);
    }

    memloupe::MemoryCore<Packet> core_;
    uint64_t random_;
    uint64_t now_ = 0;
    uint64_t wake_ = MEMLOUPE_NEVER_PS;
    uint64_t next_ = 0;
    uint64_t left_ = 0;
    uint64_t events_ = 0;
    uint64_t refusals_ = 0;
    uint64_t retries_ = 0;
    Packet *refused_ = nullptr;
    bool blocked_ = false;
    bool idle_ = true;
    std::map<uint64_t, std::deque<uint64_t>> sent_;
};

} // namespace

int main() {
    const char *config = "[controller]\nread_queue = 4\nwrite_queue = 4\n";
    for (uint64_t seed = 1; seed < 9; seed++) {
        Simulator whole(config, seed * 0x9e3779b97f4a7c15u);
        whole.run(2000);
        expect(whole.refusals() > 0, "nothing was refused");
        expect(whole.pending() == 0, "packets are held while nothing is under way");
        Simulator restored(config, 1);
        restored.restoreFrom(whole);
        whole.run(2000);
        restored.run(2000);
        expect(whole.now() == restored.now(), "a restored memory runs otherwise");
        expect(whole.json() == restored.json(), "a restored memory counts otherwise");
    }
    // Taken over by another simulator in the middle, they run as if they had not been.
    for (uint64_t events = 1; events < 400; events += 7) {
        Simulator whole(config, 88172645463325252u), first(config, 88172645463325252u), second(config, 1);
        whole.run(500);
        first.begin(500, events);
        second.takeOver(first);
        second.run(0);
        expect(whole.now() == second.now(), "a memory that was taken over runs otherwise");
        expect(whole.json() == second.json(), "a memory that was taken over counts otherwise");
    }
    // Below its limit, a fixed latency is that of every response, and each request costs one event.
    Simulator fixed("model = \"fixed\"\nlatency_ps = 50000\nmax_outstanding = 1\n", 88172645463325252u);
    fixed.run(1000);
    expect(fixed.events() <= 2200, "more events than requests and responses");
    try {
        Simulator bad("[controller]\nread_queue = 0\n", 1);
        expect(false, "a queue of no entry was taken");
    } catch (const std::runtime_error &error) {
        expect(std::strstr(error.what(), "queue of 0 entries") != nullptr, error.what());
    }
    return failures != 0;
}
