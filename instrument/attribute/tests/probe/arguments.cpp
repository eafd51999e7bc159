// Arguments of every sort, for main.rs. `record`, `KEEP` and `wait_for_test` are target.rs's.

#include <string>
namespace ns {
struct Base { virtual ~Base() {} int base_field = 5; };
struct Other { long other_field = 6; };
class Derived : public Base, public Other {
public:
    int own = 7;
    std::string title = "a title that is longer than the small buffer";
    __attribute__((noinline)) long method(std::string by_reference, int x);
    template <class T> __attribute__((noinline)) long generic(T x) { return x + own; }
    static __attribute__((noinline)) long free_of_this(const Derived &d, int y);
};
long Derived::method(std::string by_reference, int x) { return by_reference.size() + x + own; }
long Derived::free_of_this(const Derived &d, int y) { return d.own + y; }
struct Empty {};
__attribute__((noinline)) long with_empty(Empty, int x) { return x; }
__attribute__((noinline)) std::string returns_string(int x) { return std::string(x, 'a'); }
}
extern "C" long record();
int main() {
    ns::Derived d;
    std::string text = "passed by invisible reference";
    ((long (*)(ns::Derived *, std::string, int))record)(&d, text, 8); KEEP;
    // The copy that was passed is gone by now: let its address name the original.
    records[0].registers[6] = (uintptr_t)&text;
    ((long (*)(const ns::Derived &, int))record)(d, 9); KEEP;
    ((long (*)(ns::Empty, int))record)(ns::Empty(), 10); KEEP;
    ((long (*)(void *, int))record)(&d, 12); KEEP;
    volatile long keep = d.method(text, 1) + d.generic(2) + ns::Derived::free_of_this(d, 3)
        + ns::with_empty(ns::Empty(), 4) + ns::returns_string(5).size();
    wait_for_test();
}
