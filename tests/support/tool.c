/* The only program of the scratch images that tests build: does what its words say, one command after the other,
   separated by a lone comma. Knows nothing of the tests. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int copy(FILE *from, FILE *to) {
    char buffer[65536];
    size_t got;
    while ((got = fread(buffer, 1, sizeof buffer, from)) > 0) fwrite(buffer, 1, got, to);
    return fflush(to);
}

static void list(const char *path) {
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++)
        if (names[i]->d_name[0] != '.') printf("%s\n", names[i]->d_name);
}

/* Prints how many keys the ssh agent of the environment has. */
static int keys(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("SSH_AUTH_SOCK");
    int agent = socket(AF_UNIX, SOCK_STREAM, 0);
    unsigned char answer[9];
    if (!path) return 1;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (connect(agent, (struct sockaddr *)&address, sizeof address) || write(agent, "\0\0\0\1\13", 5) != 5) return 1;
    for (int got = 0, more; got < 9; got += more)
        if ((more = read(agent, answer + got, 9 - got)) <= 0) return 1;
    return printf("%d keys\n", answer[8]), fflush(stdout), -1;
}

/* Returns the exit code, or -1 to go on with the next command. */
static int run(int argc, char **argv) {
    const char *name = argv[0];
    if (argc == 1 && !strcmp(name, "stdin")) return copy(stdin, stdout), -1;
    if (argc == 1 && !strcmp(name, "keys")) return keys();
    if (argc < 2) return 64;
    if (!strcmp(name, "say")) return printf("%s\n", argv[1]), fflush(stdout), -1;
    if (!strcmp(name, "cry")) return fprintf(stderr, "%s\n", argv[1]), -1;
    if (!strcmp(name, "exit")) return atoi(argv[1]);
    if (!strcmp(name, "sleep")) return usleep((useconds_t)(atof(argv[1]) * 1e6)), -1;
    if (!strcmp(name, "work")) {
        /* Millions of rounds that no compiler takes away. */
        volatile unsigned long sum = 1;
        for (long i = 0; i < atol(argv[1]) * 1000000; i++) sum = sum * 6364136223846793005UL + 1;
        return -1;
    }
    if (!strcmp(name, "env")) return printf("%s\n", getenv(argv[1]) ? getenv(argv[1]) : "(unset)"), -1;
    if (!strcmp(name, "ls")) return list(argv[1]), fflush(stdout), -1;
    if (!strcmp(name, "count")) {
        struct dirent **names;
        return printf("%d\n", scandir(argv[1], &names, NULL, NULL) - 2), fflush(stdout), -1;
    }
    if (!strcmp(name, "cat")) {
        FILE *file = fopen(argv[1], "r");
        return file ? (copy(file, stdout), -1) : (fprintf(stderr, "no file %s\n", argv[1]), 1);
    }
    if (!strcmp(name, "stat")) {
        struct stat s;
        if (lstat(argv[1], &s)) return 1;
        return printf("%o %d %d %ld\n", s.st_mode & 07777, s.st_uid, s.st_gid, (long)s.st_mtime), fflush(stdout), -1;
    }
    if (!strcmp(name, "write") && argc == 3) {
        FILE *file = fopen(argv[1], "w");
        return file && fputs(argv[2], file) >= 0 && !fclose(file) ? -1 : 1;
    }
    if (!strcmp(name, "lines")) {
        for (long i = 0; i < atol(argv[1]); i++) printf("line %ld\n", i);
        return fflush(stdout), -1;
    }
    if (!strcmp(name, "alloc")) {
        size_t size = (size_t)atol(argv[1]) << 20;
        volatile char *memory = malloc(size);
        for (size_t i = 0; memory && i < size; i += 4096) memory[i] = 1;
        return memory ? -1 : 1;
    }
    return 64;
}

int main(int argc, char **argv) {
    for (int start = 1; start < argc;) {
        int end = start;
        while (end < argc && strcmp(argv[end], ",")) end++;
        int code = run(end - start, argv + start);
        if (code >= 0) return code;
        start = end + 1;
    }
    return 0;
}
