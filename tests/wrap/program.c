/* A server to be wrapped: it does what its words say, greets every client with its name and sends back what it gets.
 *
 * program PORT WORDS...          PORT may be `old`: that of REBIND_OLD_PORT
 *   4 6 dual both   the sockets: IPv4, IPv6 only, IPv6 for both families, one for each family (default: 4)
 *   thread fork     binds in another thread, or in a child
 *   daemon          leaves its parent twice, and binds when that is gone
 *   unix=PATH       listens on this Unix socket instead
 *   late=PATH       then waits until this fifo is written to
 *   other           says what becomes of binds that are none of the server's business
 *   fault           one of them with an address that cannot be read
 *   orphans         leaves children of children behind, which end at once
 * It says on standard error what it has bound. Everything fails loudly. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int port, argc_, listeners[2], count;
static char **argv_;

static const char *word(const char *name)
{
    size_t length = strlen(name);
    int at;
    for (at = 2; at < argc_; at++)
        if (!strncmp(argv_[at], name, length) && (name[length - 1] == '=' || !argv_[at][length]))
            return argv_[at] + length;
    return NULL;
}

static void say_bound(int fd, const char *what)
{
    struct sockaddr_in6 six;
    socklen_t length = sizeof six;
    char text[64] = "?";
    if (getsockname(fd, (struct sockaddr *)&six, &length))
        perror("getsockname");
    if (six.sin6_family == AF_INET6)
        inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    else
        inet_ntop(AF_INET, &((struct sockaddr_in *)&six)->sin_addr, text, sizeof text);
    fprintf(stderr, "%s %s %d\n", what, text, ntohs(six.sin6_port));
}

static int bound(int family, int type, int only, int to, const char *what)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(to)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(to)};
    int fd = socket(family, type, 0), six_ = family == AF_INET6;
    if (six_)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
    if (bind(fd, six_ ? (void *)&six : (void *)&four, six_ ? sizeof six : sizeof four)) {
        fprintf(stderr, "%s refused: %s\n", what, strerror(errno));
        exit(9);
    }
    say_bound(fd, what);
    return fd;
}

static void *bind_all(void *unused)
{
    if (word("unix=")) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        strncpy(name.sun_path, word("unix="), sizeof name.sun_path - 1);
        listeners[count] = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(listeners[count++], (void *)&name, sizeof name)) {
            fprintf(stderr, "bound refused: %s\n", strerror(errno));
            exit(9);
        }
        fprintf(stderr, "bound %s\n", name.sun_path);
        return unused;
    }
    if (word("both") || !(word("6") || word("dual")))
        listeners[count++] = bound(AF_INET, SOCK_STREAM, 0, port, "bound");
    if (word("both") || word("6") || word("dual"))
        listeners[count++] = bound(AF_INET6, SOCK_STREAM, !word("dual"), port, "bound");
    return unused;
}

static void bind_beside(void)
{
    int fd = bound(AF_INET, SOCK_DGRAM, 0, port, "udp");
    close(fd);
    close(bound(AF_INET, SOCK_STREAM, 0, 0, "any"));
    if (bind(-1, NULL, 0) == 0 || errno != EBADF)
        fprintf(stderr, "no error for a bad descriptor\n");
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (word("fault") && (bind(fd, (void *)1, sizeof(struct sockaddr_in)) == 0 || errno != EFAULT))
        fprintf(stderr, "no error for a bad address\n");
    close(fd);
    fprintf(stderr, "errors are as they should be\n");
}

static void become_daemon(void)
{
    pid_t parent;
    if (fork())
        exit(0);
    setsid();
    parent = getpid();
    if (fork())
        exit(0);
    while (getppid() == parent)
        usleep(1000);
}

static void serve(void)
{
    struct pollfd polled[2];
    char bytes[4096];
    int at;
    for (at = 0; at < count; at++) {
        if (listen(listeners[at], 8)) {
            perror("listen");
            exit(9);
        }
        polled[at].fd = listeners[at];
        polled[at].events = POLLIN;
    }
    fprintf(stderr, "serving as %d\n", getpid());
    while (poll(polled, (nfds_t)count, -1) > 0)
        for (at = 0; at < count; at++) {
            ssize_t got;
            int fd;
            if (!polled[at].revents)
                continue;
            fd = accept(listeners[at], NULL, NULL);
            if (write(fd, "hello ", 6) != 6)
                perror("write");
            while ((got = read(fd, bytes, sizeof bytes)) > 0)
                if (write(fd, bytes, (size_t)got) != got)
                    break;
            close(fd);
        }
}

int main(int argc, char **argv)
{
    argc_ = argc;
    argv_ = argv;
    if (argc < 2)
        return 9;
    port = atoi(strcmp(argv[1], "old") ? argv[1] : getenv("REBIND_OLD_PORT") ?: "0");
    fprintf(stderr, "told old=%s new=%s\n", getenv("REBIND_OLD_PORT") ?: "-", getenv("REBIND_NEW_PORT") ?: "-");
    if (word("other"))
        bind_beside();
    if (word("orphans")) {
        int left;
        for (left = 0; left < 5; left++)
            if (!fork()) {
                if (!fork())
                    usleep(1000);
                _exit(0);
            }
        while (wait(NULL) > 0)
            ;
    }
    if (word("daemon"))
        become_daemon();
    if (word("late=")) {
        char byte;
        int fd;
        fprintf(stderr, "waiting as %d\n", getpid());
        fd = open(word("late="), O_RDONLY);
        if (read(fd, &byte, 1) != 1)
            exit(9);
        close(fd);
    }
    if (word("thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, bind_all, NULL);
        pthread_join(thread, NULL);
    } else if (word("fork")) {
        pid_t child = fork();
        if (child) {
            waitpid(child, NULL, 0);
            exit(0);
        }
        bind_all(NULL);
    } else {
        bind_all(NULL);
    }
    serve();
    return 0;
}
