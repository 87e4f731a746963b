// C++: every operator new and delete, exceptions through threads, containers, and polymorphic memory resources.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

static long wrong;

static void expect(bool good, const char *what) {
    if (!good) {
        std::printf("wrong: %s\n", what);
        wrong++;
    }
}

template <std::size_t Alignment, std::size_t Bytes> struct alignas(Alignment) Object {
    unsigned char bytes[Bytes];
    Object() { bytes[0] = bytes[Bytes - 1] = 0x42; }
    ~Object() { expect(bytes[0] == 0x42 && bytes[Bytes - 1] == 0x42, "an object's bytes"); }
};

template <std::size_t Alignment, std::size_t Bytes> static void objects() {
    using Type = Object<Alignment, Bytes>;
    for (int n = 0; n < 100; n++) {
        auto one = std::make_unique<Type>();
        auto many = std::make_unique<Type[]>(n % 7 + 1);
        expect(reinterpret_cast<std::uintptr_t>(one.get()) % Alignment == 0, "new's alignment");
        expect(reinterpret_cast<std::uintptr_t>(many.get()) % Alignment == 0, "new[]'s alignment");
    }
}

// Each operator by its name, sized and aligned.
static void operators() {
    for (std::size_t bytes : {0, 1, 24, 100, 4096, 5000, 70000, 3000000}) {
        ::operator delete(::operator new(bytes));
        ::operator delete(::operator new(bytes), bytes);
        ::operator delete[](::operator new[](bytes), bytes);
        ::operator delete(::operator new(bytes, std::nothrow), std::nothrow);
        for (std::size_t alignment : {1, 8, 16, 32, 64, 256, 4096, 65536, 1 << 20}) {
            auto aligned = std::align_val_t(alignment);
            void *p = ::operator new(bytes, aligned);
            expect(reinterpret_cast<std::uintptr_t>(p) % alignment == 0, "aligned new");
            ::operator delete(p, aligned);
            ::operator delete(::operator new(bytes, aligned), bytes, aligned);
            ::operator delete[](::operator new[](bytes, aligned), bytes, aligned);
            ::operator delete(::operator new(bytes, aligned, std::nothrow), aligned, std::nothrow);
        }
    }
    volatile std::size_t huge = PTRDIFF_MAX;
    bool thrown = false;
    try {
        ::operator delete(::operator new(huge - 100000));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    expect(thrown, "bad_alloc");
    expect(!::operator new(huge - 100000, std::nothrow), "nothrow");
    expect(!::operator new(huge - 100000, std::align_val_t(64), std::nothrow), "aligned nothrow");
}

static int thrown_deep(int depth, const std::string &text) {
    std::string longer = text + std::to_string(depth) + " and so on, past what a string holds within itself";
    if (depth == 0)
        throw std::runtime_error(longer);
    return thrown_deep(depth - 1, longer) + 1;
}

static void threads() {
    std::vector<std::thread> all;
    std::vector<std::exception_ptr> caught(8);
    for (std::size_t n = 0; n < caught.size(); n++)
        all.emplace_back([n, &caught] {
            for (int round = 0; round < 200; round++) {
                std::map<std::string, std::vector<int>> map;
                std::list<std::unique_ptr<int>> list;
                for (int i = 0; i < 50; i++) {
                    map[std::to_string(i * round) + " a key of some length, on the heap"].assign(i, round);
                    list.push_back(std::make_unique<int>(i));
                }
                try {
                    thrown_deep(10, "thread ");
                } catch (...) {
                    caught[n] = std::current_exception();
                }
            }
        });
    for (auto &thread : all)
        thread.join();
    // What another thread threw is freed here.
    for (auto &exception : caught)
        try {
            std::rethrow_exception(exception);
        } catch (const std::runtime_error &error) {
            expect(std::string(error.what()).find("0 and so on") != std::string::npos, "what was thrown");
        }
}

static void resources() {
    std::pmr::synchronized_pool_resource shared;
    std::pmr::unsynchronized_pool_resource own;
    std::pmr::monotonic_buffer_resource growing;
    for (std::pmr::memory_resource *resource :
         {static_cast<std::pmr::memory_resource *>(&shared), static_cast<std::pmr::memory_resource *>(&own),
          static_cast<std::pmr::memory_resource *>(&growing), std::pmr::new_delete_resource()}) {
        std::pmr::unordered_map<int, std::pmr::string> map(resource);
        for (int n = 0; n < 5000; n++)
            map[n] = std::pmr::string(n % 300, 'x', resource);
        std::size_t sum = 0;
        for (auto &[key, value] : map)
            sum += value.size() == std::size_t(key % 300);
        expect(sum == 5000, "a resource's map");
        void *p = resource->allocate(1000, 128);
        expect(reinterpret_cast<std::uintptr_t>(p) % 128 == 0, "a resource's alignment");
        resource->deallocate(p, 1000, 128);
    }
}

int main() {
    objects<1, 1>();
    objects<16, 48>();
    objects<32, 32>();
    objects<64, 192>();
    objects<128, 128>();
    objects<4096, 8192>();
    operators();
    threads();
    resources();
    std::printf("%ld wrong\n", wrong);
    return wrong != 0;
}
