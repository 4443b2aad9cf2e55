/* The program that tasks of tests run: does what its first word says. Knows nothing of the tests.

   mix DEFINITION COARSE MICROSECONDS OUT... -- IN...   writes files from files (the same as `product` in model.rs)
   deaf SECONDS          sleeps, and ignores INT, TERM and HUP
   daemon SECONDS        leaves the session twice over and sleeps there; the caller goes on at once
   flood BYTES           binary output without an end of line
   lines COUNT           numbered lines on both streams
   foreground            makes itself the foreground of its terminal and ends without giving it back
   stdin                 counts what stdin gives
   env                   prints its environment */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static int mix(int count, char **words) {
    uint64_t sum = 0xcbf29ce484222325u;
    char buffer[4096];
    int middle = 3, coarse = !strcmp(words[1], "true");
    while (middle < count && strcmp(words[middle], "--")) middle++;
    for (int at = middle + 1; at < count; at++) {
        int file = open(words[at], O_RDONLY | O_CLOEXEC);
        ssize_t got;
        if (file < 0) return perror(words[at]), 1;
        while ((got = read(file, buffer, sizeof buffer)) > 0)
            for (ssize_t i = 0; i < got; i++) sum = (sum ^ (unsigned char)buffer[i]) * 0x100000001b3u;
        sum = sum * 0x100000001b3u;
        close(file);
    }
    usleep(atoi(words[2]));
    for (int at = 3; at < middle; at++) {
        FILE *file = fopen(words[at], "we");
        if (!file) return perror(words[at]), 1;
        if (coarse) fprintf(file, "coarse %d %d\n", (int)(sum % 2), at - 3);
        else fprintf(file, "%llx %s %d\n", (unsigned long long)sum, words[0], at - 3);
        if (fclose(file)) return perror(words[at]), 1;
    }
    return 0;
}

static int deaf(int seconds) {
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    return sleep(seconds);
}

static int leave(int seconds) {
    if (fork()) return 0;
    setsid();
    if (fork()) _exit(0);
    setsid();
    return sleep(seconds);
}

static int flood(long bytes) {
    static const char pattern[] = "a\r\xff\x01" "b";
    char buffer[6 * 4096];
    for (size_t i = 0; i < sizeof buffer; i++) buffer[i] = pattern[i % 6];
    while (bytes > 0) {
        ssize_t put = write(1, buffer, bytes < (long)sizeof buffer ? (size_t)bytes : sizeof buffer);
        if (put < 0) return 1;
        bytes -= put;
    }
    return 0;
}

static int lines(int count) {
    for (int i = 0; i < count; i++) {
        dprintf(1, "out-%d-ooooooooooooooooooooooooo\n", i);
        dprintf(2, "err-%d-eeeeeeeeeeee\n", i);
    }
    return 0;
}

static int foreground(void) {
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (terminal < 0) return perror("/dev/tty"), 1;
    signal(SIGTTOU, SIG_IGN);
    setpgid(0, 0);
    return tcsetpgrp(terminal, getpgrp()) ? (perror("tcsetpgrp"), 1) : 0;
}

static int input(void) {
    char buffer[4096];
    long all = 0, got;
    while ((got = read(0, buffer, sizeof buffer)) > 0) all += got;
    printf("%ld bytes\n", all);
    return 0;
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    if (!strcmp(mode, "mix") && count > 5) return mix(count - 2, words + 2);
    if (!strcmp(mode, "deaf") && count == 3) return deaf(atoi(words[2]));
    if (!strcmp(mode, "daemon") && count == 3) return leave(atoi(words[2]));
    if (!strcmp(mode, "flood") && count == 3) return flood(atol(words[2]));
    if (!strcmp(mode, "lines") && count == 3) return lines(atoi(words[2]));
    if (!strcmp(mode, "foreground")) return foreground();
    if (!strcmp(mode, "stdin")) return input();
    if (!strcmp(mode, "env")) {
        for (char **one = environ; *one; one++) puts(*one);
        return 0;
    }
    fprintf(stderr, "helper: unknown words\n");
    return 2;
}
