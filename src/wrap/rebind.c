/* The LD_PRELOAD interposer of wrap mode, for systems where bind() cannot be moved from outside: it moves binds of TCP
 * sockets from port REBIND_OLD_PORT to port REBIND_NEW_PORT of the loopback, as src/wrap/binds.rs does, which says why.
 *
 * It is linked against nothing and carries nothing: what it calls is in every libc, so that one file serves programs of
 * glibc and of musl. It allocates nothing and keeps no state, so threads and forks do not matter to it. */

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int real_bind(int fd, const void *address, socklen_t length)
{
    return (int)syscall(SYS_bind, fd, address, length);
}

/* A port from the environment; 0 if it is none. */
static unsigned port_from(const char *name)
{
    const char *text = getenv(name);
    unsigned port = 0;
    if (!text || !*text)
        return 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        port = port * 10 + (unsigned)(*text - '0');
        if (port > 65535)
            return 0;
    }
    return port;
}

static unsigned swapped(unsigned port)
{
    const unsigned short probe = 1;
    return *(const unsigned char *)&probe ? ((port & 255) << 8 | port >> 8) : port;
}

static int is_tcp(int fd)
{
    int type = 0, protocol = 0;
    socklen_t length = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) || type != SOCK_STREAM)
        return 0;
    length = sizeof protocol;
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length))
        return 0;
    return protocol == IPPROTO_TCP || protocol == 262; /* IPPROTO_MPTCP, which older headers lack */
}

static int bind4(int fd, unsigned port)
{
    struct sockaddr_in to;
    __builtin_memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = (in_port_t)swapped(port);
    ((unsigned char *)&to.sin_addr)[0] = 127;
    ((unsigned char *)&to.sin_addr)[3] = 1;
    return real_bind(fd, &to, sizeof to);
}

static int bind6(int fd, unsigned port, int mapped)
{
    struct sockaddr_in6 to;
    unsigned char *bytes = (unsigned char *)&to.sin6_addr;
    __builtin_memset(&to, 0, sizeof to);
    to.sin6_family = AF_INET6;
    to.sin6_port = (in_port_t)swapped(port);
    bytes[15] = 1;
    if (mapped) {
        bytes[10] = bytes[11] = 255;
        bytes[12] = 127;
    }
    return real_bind(fd, &to, sizeof to);
}

static int is_mapped(const struct sockaddr_in6 *address)
{
    const unsigned char *bytes = (const unsigned char *)&address->sin6_addr;
    int at;
    for (at = 0; at < 10; at++)
        if (bytes[at])
            return 0;
    return bytes[10] == 255 && bytes[11] == 255;
}

__attribute__((visibility("default"))) int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;
    unsigned from = port_from("REBIND_OLD_PORT"), to = port_from("REBIND_NEW_PORT");
    int is4 = address && length >= sizeof *four && address->sa_family == AF_INET;
    /* The kernel takes the form without a scope, of 24 bytes, too. */
    int is6 = address && length >= 24 && address->sa_family == AF_INET6;
    int one = 1, only = 0;
    socklen_t size = sizeof only;

    if (!from || !to || !(is4 || is6) || (is4 ? four->sin_port : six->sin6_port) != swapped(from) || !is_tcp(fd))
        return real_bind(fd, address, length);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one))
        return -1;
    if (is4)
        return bind4(fd, to);
    if (bind6(fd, to, is_mapped(six)) == 0)
        return 0;
    if (errno != EADDRNOTAVAIL || getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size) || only)
        return -1;
    return bind6(fd, to, 1);
}
