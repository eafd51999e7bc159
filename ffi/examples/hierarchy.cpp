// A machine's caches above its memory in time: what leaves the last level becomes requests, and an access that misses
// waits for its line. One access at a time, as an in-order core makes them. Prints the two statistics, one per line.
//
//   c++ hierarchy.cpp $(pkg-config --cflags --libs memloupe) -o hierarchy && ./hierarchy desktop 100000
#include <memloupe.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace {

void must(memloupe_status status) {
    if (status != MEMLOUPE_OK) {
        std::fprintf(stderr, "hierarchy: %s\n", memloupe_last_error());
        std::exit(1);
    }
}

template <typename Handle, memloupe_status (*destroy)(Handle *)> struct Destroy {
    void operator()(Handle *handle) const { destroy(handle); }
};
using System = std::unique_ptr<memloupe_system, Destroy<memloupe_system, memloupe_system_destroy>>;
using Memory = std::unique_ptr<memloupe_memory, Destroy<memloupe_memory, memloupe_memory_destroy>>;

template <typename Handle>
std::string json(memloupe_status (*write)(const Handle *, char *, size_t, size_t *), const Handle *handle) {
    size_t needed = 0;
    write(handle, nullptr, 0, &needed);
    std::vector<char> text(needed);
    must(write(handle, text.data(), text.size(), &needed));
    return text.data();
}

class Machine {
  public:
    explicit Machine(const char *name) {
        memloupe_system *system = nullptr;
        must(memloupe_system_create(name, &system));
        system_.reset(system);
        must(memloupe_system_reserve_owners(system, 3));
        must(memloupe_system_on_line(system, &Machine::line, this));
        memloupe_memory *memory = nullptr;
        must(memloupe_memory_create(name, nullptr, &memory));
        memory_.reset(memory);
        must(memloupe_memory_on_completion(memory, &Machine::completion, this));
    }

    void access(const memloupe_access &access) {
        memloupe_answer answer = {};
        must(memloupe_system_access(system_.get(), &access, &answer));
        send_lines();
        while (reads_under_way_ > 0) {
            must(memloupe_memory_next_event(memory_.get(), &now_ps_));
            must(memloupe_memory_advance(memory_.get(), now_ps_));
        }
        now_ps_ += 400; // a cycle at 2.5 GHz
    }

    void finish() {
        must(memloupe_system_flush(system_.get()));
        send_lines();
        must(memloupe_memory_drain(memory_.get(), nullptr));
        std::printf("%s\n", json(memloupe_system_statistics_json, system_.get()).c_str());
        std::printf("%s\n", json(memloupe_memory_statistics_json, memory_.get()).c_str());
    }

  private:
    // A callback may not call its handle: lines wait here until the access is simulated.
    static void line(void *machine, uint64_t address, uint64_t bytes, bool write, uint32_t owner) {
        memloupe_request request = {};
        request.address = address;
        request.size_bytes = static_cast<uint32_t>(bytes);
        request.kind = write ? MEMLOUPE_REQUEST_WRITEBACK : MEMLOUPE_REQUEST_READ;
        request.tag = owner;
        static_cast<Machine *>(machine)->lines_.push_back(request);
    }

    static void completion(void *machine, const memloupe_completion *completion) {
        if (completion->kind == MEMLOUPE_REQUEST_READ) {
            static_cast<Machine *>(machine)->reads_under_way_--;
        }
    }

    void send_lines() {
        for (; !lines_.empty(); lines_.pop_front()) {
            bool accepted = false;
            must(memloupe_memory_send(memory_.get(), now_ps_, &lines_.front(), &accepted));
            while (!accepted) {
                must(memloupe_memory_next_event(memory_.get(), &now_ps_));
                must(memloupe_memory_advance(memory_.get(), now_ps_));
                must(memloupe_memory_send(memory_.get(), now_ps_, &lines_.front(), &accepted));
            }
            reads_under_way_ += lines_.front().kind == MEMLOUPE_REQUEST_READ;
        }
    }

    System system_;
    Memory memory_;
    std::deque<memloupe_request> lines_;
    uint64_t now_ps_ = 0;
    unsigned reads_under_way_ = 0;
};

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: hierarchy MACHINE ACCESSES\n");
        return 2;
    }
    Machine machine(argv[1]);
    uint64_t random = 88172645463325252u;
    for (unsigned long long left = std::strtoull(argv[2], nullptr, 10); left > 0; left--) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        memloupe_access access = {};
        access.address = (random >> 8) % (32u << 20);
        access.size_bytes = 8;
        access.kind = random % 4 == 0 ? MEMLOUPE_STORE : MEMLOUPE_LOAD;
        access.owner = static_cast<uint32_t>(random >> 56) % 3;
        machine.access(access);
    }
    machine.finish();
}
