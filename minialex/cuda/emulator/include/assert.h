// assert.h -- in the place of the host's, which would end the process. As that one, it may be included
// again, with NDEBUG or without.
#undef assert
#ifdef NDEBUG
#define assert(...) void(0)
#else
#define assert(...) \
    ((__VA_ARGS__) ? void() : emu_fail(emu::TRAP, "assert(" #__VA_ARGS__ ")", __FILE__, __LINE__))
#endif
