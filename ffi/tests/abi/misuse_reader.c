/* Every wrong way to use a reader that a caller can be told of. Prints "ok". */
#include <memloupe.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(call, wanted)                                                                         \
    do {                                                                                             \
        memloupe_status status = (call);                                                             \
        if (status != (wanted)) {                                                                    \
            fprintf(stderr, "%d: %d: %s\n", __LINE__, (int)status, memloupe_last_error());           \
            exit(1);                                                                                 \
        }                                                                                            \
    } while (0)

static void says(const char *part) {
    if (strstr(memloupe_last_error(), part) == NULL) {
        fprintf(stderr, "'%s' is not in '%s'\n", part, memloupe_last_error());
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    memloupe_reader *reader = (memloupe_reader *)1;
    EXPECT(memloupe_reader_open("/nonexistent/recording", &reader), MEMLOUPE_BAD_RECORDING);
    says("/nonexistent/recording");
    if (reader != NULL) {
        return 1;
    }
    EXPECT(memloupe_reader_open(NULL, &reader), MEMLOUPE_NULL_ARGUMENT);
    EXPECT(memloupe_reader_open(argv[1], NULL), MEMLOUPE_NULL_ARGUMENT);
    EXPECT(memloupe_reader_open("\xff", &reader), MEMLOUPE_BAD_ARGUMENT);
    EXPECT(memloupe_reader_open(argv[1], &reader), MEMLOUPE_BAD_RECORDING); /* a text */
    says("no recording");
    EXPECT(memloupe_reader_destroy(NULL), MEMLOUPE_OK);

    size_t count = 1;
    memloupe_recorded_access access;
    EXPECT(memloupe_reader_read(NULL, &access, 1, &count), MEMLOUPE_NULL_ARGUMENT);
    EXPECT(memloupe_reader_moved(NULL, "/a", "/b"), MEMLOUPE_NULL_ARGUMENT);
    EXPECT(memloupe_reader_about_json(NULL, NULL, 0, &count), MEMLOUPE_NULL_ARGUMENT);

    memloupe_system *system = NULL;
    EXPECT(memloupe_system_create("desktop", &system), MEMLOUPE_OK);
    memloupe_reader *wrong = (memloupe_reader *)system;
    EXPECT(memloupe_reader_read(wrong, &access, 1, &count), MEMLOUPE_WRONG_HANDLE);
    EXPECT(memloupe_reader_destroy(wrong), MEMLOUPE_WRONG_HANDLE);
    EXPECT(memloupe_system_destroy(system), MEMLOUPE_OK);
    puts("ok");
    return 0;
}
