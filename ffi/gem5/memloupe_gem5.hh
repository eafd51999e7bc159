// What memloupe's objects in gem5 share: the library's errors as gem5's, its numbers in gem5's tree, its state in checkpoints.
#ifndef MEMLOUPE_GEM5_HH
#define MEMLOUPE_GEM5_HH

#include <memloupe.h>

#include <cstdint>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/logging.hh"
#include "base/statistics.hh"
#include "sim/core.hh"

namespace gem5
{

namespace memory
{

/// A wrong machine or configuration ends the simulation with the library's own words.
template <typename Work>
auto
orFatal(const std::string &name, Work work) -> decltype(work())
{
    try {
        return work();
    } catch (const std::exception &error) {
        fatal("%s: %s\n", name, error.what());
    }
}

/// What an object relies on: the library's version, and ticks that are picoseconds.
inline void
checkMemloupe(const std::string &name)
{
    fatal_if(memloupe_abi_version() != MEMLOUPE_ABI_VERSION,
             "%s: libmemloupe has ABI %d, gem5 was built for %d\n", name,
             memloupe_abi_version(), MEMLOUPE_ABI_VERSION);
    fatal_if(sim_clock::as_int::ns != 1000,
             "%s: a tick must be a picosecond, as it is unless "
             "m5.ticks.setGlobalFrequency says otherwise\n", name);
}

/// The library's numbers in gem5's tree. Counts begin again with a reset; means, maxima and percentiles are those since the
/// start.
class MemloupeNumbers
{
  public:
    using Read = std::function<double(const char *name)>;

    void
    add(statistics::Group *parent, const memloupe_statistic &about, const Read &read)
    {
        auto number = std::make_unique<Number>();
        number->read = [name = about.name, read] { return read(name); };
        number->is_count = about.is_count;
        number->value = std::make_unique<statistics::Value>(
            parent, about.name, about.description);
        number->value->functor([seen = number.get()] {
            return seen->read() - seen->at_reset;
        });
        numbers.push_back(std::move(number));
    }

    void
    reset()
    {
        for (const auto &number : numbers) {
            if (number->is_count)
                number->at_reset = number->read();
        }
    }

  private:
    struct Number
    {
        std::function<double()> read;
        bool is_count = false;
        double at_reset = 0;
        std::unique_ptr<statistics::Value> value;
    };

    std::vector<std::unique_ptr<Number>> numbers;
};

/// Writes the library's state of an object into a checkpoint's folder.
inline void
saveMemloupe(const std::string &folder, const std::string &name,
             const std::vector<uint8_t> &state)
{
    const std::string path = folder + "/" + name + ".memloupe";
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char *>(state.data()), state.size());
    fatal_if(!file, "%s: cannot write %s\n", name, path);
}

/// Reads it again; nothing if there is none.
inline std::vector<uint8_t>
loadMemloupe(const std::string &folder, const std::string &name)
{
    const std::string path = folder + "/" + name + ".memloupe";
    std::ifstream file(path, std::ios::binary);
    warn_if(!file, "%s: no %s: the memory starts with its banks closed\n", name, path);
    return std::vector<uint8_t>{std::istreambuf_iterator<char>(file), {}};
}

} // namespace memory
} // namespace gem5

#endif // MEMLOUPE_GEM5_HH
