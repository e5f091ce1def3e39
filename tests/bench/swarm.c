/* Many viewers of one MJPEG stream, or many pages with its live view, in one thread, as cheap and exact as possible.
 *
 *     swarm HOST PORT PATH VIEWERS [CAMERA] >RECORDS
 *
 * Runs until it is terminated. Writes one record for every whole picture that a viewer has read. The time is taken
 * when the last byte of the picture was read; the picture itself is dropped in the kernel (MSG_TRUNC).
 *
 * With CAMERA, PATH is a WebSocket's, and each viewer a page that watches this camera: it acknowledges each picture
 * when it has read it, and says something once a second. A picture's message tells when it was captured.
 * Otherwise a part tells when it was captured by its header "X-Timestamp: SECONDS.MICROSECONDS" (wall clock), or by a comment
 * segment right behind SOI: FF FE 00 26 "MJTS", 16 hex digits of CLOCK_MONOTONIC ns, 16 of the frame's number.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, READ_AT_ONCE = 512, STAMP_BYTES = 42, EVENTS = 256 };
enum { TEXT = 0x81, BINARY = 0x82, ABOUT_BYTES = 16 }; /* a WebSocket's messages, and what stands before a picture */
#define PING_EVERY_NS 1000000000LL

struct record { /* the same as viewers.RECORD */
    uint32_t viewer, bytes;
    int64_t stamp_ns, read_ns, age_ns; /* read_ns: CLOCK_MONOTONIC; stamp_ns: by the sender's clock, 0 without one */
};

struct viewer {
    int fd;
    uint32_t number;
    size_t size, left; /* of the picture being read, or message; left is 0 while a header is awaited */
    int64_t stamp_ns;
    clockid_t clock; /* that stamp_ns is of */
    char head[HEAD_MAX + 1];
    size_t head_bytes;
    /* of a page only */
    int open, is_picture; /* the handshake is over; what is being read is a picture */
    unsigned char about[8]; /* the picture's camera and number */
    int64_t next_ping_ns;
};

static const char *camera; /* NULL: they are viewers of a stream */
static volatile sig_atomic_t ending;

static void end(int number) { (void)number; ending = 1; }

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* A message from a page. The kernel has room for such a little one. The mask of 0 leaves all bytes as they are. */
static void say(struct viewer *v, int opcode, const void *payload, size_t size)
{
    unsigned char frame[512] = { opcode, 0x80 | size };
    memcpy(frame + 6, payload, size);
    if (send(v->fd, frame, 6 + size, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        fail("swarm: send");
}

static void picture_read(struct viewer *v)
{
    int64_t now = now_ns(CLOCK_MONOTONIC);
    int64_t stamp_now = v->clock == CLOCK_MONOTONIC ? now : now_ns(v->clock);
    struct record r = { v->number, v->size, v->stamp_ns, now, stamp_now - v->stamp_ns };
    fwrite(&r, sizeof r, 1, stdout);
}

/* All of a page's message has come. */
static void message_read(struct viewer *v)
{
    if (!v->is_picture)
        return;
    picture_read(v);
    say(v, BINARY, v->about, sizeof v->about);
    int64_t now = now_ns(CLOCK_MONOTONIC);
    if (now >= v->next_ping_ns) {
        say(v, TEXT, "{\"type\": \"ping\", \"echo\": 1}", 27);
        v->next_ping_ns = now + PING_EVERY_NS;
    }
}

static uint64_t big_endian(const char *bytes, int count)
{
    uint64_t value = 0;
    while (count--)
        value = value << 8 | (unsigned char)*bytes++;
    return value;
}

/* Look in v->head for the messages' heads; what follows a head belongs to its message. */
static void parse_live(struct viewer *v)
{
    char *at = v->head, *end = v->head + v->head_bytes;
    *end = 0;
    if (!v->open) {
        char *body = strstr(at, "\r\n\r\n");
        if (v->head_bytes > 12 && strncmp(at + 8, " 101", 4)) {
            fprintf(stderr, "swarm: viewer %u was answered %.20s\n", v->number, at);
            exit(1);
        }
        if (!body)
            return;
        char watch[100];
        say(v, TEXT, "{\"type\": \"ping\", \"echo\": 1}", 27);
        say(v, TEXT, watch, sprintf(watch, "{\"type\": \"watch\", \"cameras\": [\"%.40s\"]}", camera));
        v->open = 1;
        at = body + 4;
    }
    while (end - at >= 2) {
        int opcode = (unsigned char)at[0], length = (unsigned char)at[1];
        int wide = length == 126 ? 2 : length == 127 ? 8 : 0, about = opcode == BINARY ? ABOUT_BYTES : 0;
        if (end - at < 2 + wide + about)
            break;
        v->size = (wide ? big_endian(at + 2, wide) : (uint64_t)length) - about;
        at += 2 + wide;
        v->is_picture = opcode == BINARY;
        if (v->is_picture) {
            uint64_t bits = big_endian(at + 8, 8);
            double captured_ms;
            memcpy(&captured_ms, &bits, sizeof bits);
            memcpy(v->about, at, sizeof v->about);
            v->stamp_ns = captured_ms * 1e6;
            v->clock = CLOCK_MONOTONIC;
            at += ABOUT_BYTES;
        }
        size_t have = end - at;
        v->left = v->size > have ? v->size - have : 0;
        at += v->size - v->left;
        if (!v->left)
            message_read(v);
    }
    v->head_bytes = end - at;
    memmove(v->head, at, v->head_bytes);
}

/* Look in v->head for a part's whole header and its stamp; then what follows it belongs to the picture. */
static void parse(struct viewer *v)
{
    v->head[v->head_bytes] = 0;
    if (v->head_bytes > 12 && !strncmp(v->head, "HTTP/", 5) && strncmp(v->head + 8, " 200", 4)) {
        fprintf(stderr, "swarm: viewer %u was answered %.20s\n", v->number, v->head);
        exit(1);
    }
    char *length = strcasestr(v->head, "\r\nContent-Length:");
    char *body = length ? strstr(length, "\r\n\r\n") : NULL;
    if (!body)
        return;
    body += 4;
    size_t have = v->head_bytes - (body - v->head);
    char *stamp = strcasestr(v->head, "\r\nX-Timestamp:");
    if (stamp && stamp < body) {
        char *fraction;
        v->stamp_ns = strtoll(stamp + 14, &fraction, 10) * 1000000000LL;
        v->stamp_ns += *fraction == '.' ? strtoll(fraction + 1, NULL, 10) * 1000 : 0;
        v->clock = CLOCK_REALTIME;
    } else if (have < STAMP_BYTES) {
        return;
    } else {
        char digits[17] = "";
        if (!memcmp(body, "\xff\xd8\xff\xfe\0\x26MJTS", 10))
            memcpy(digits, body + 10, 16);
        v->stamp_ns = strtoll(digits, NULL, 16);
        v->clock = CLOCK_MONOTONIC;
    }
    v->size = strtoul(length + 17, NULL, 10);
    v->left = v->size > have ? v->size - have : 0;
    v->head_bytes = have > v->size ? have - v->size : 0; /* the begin of the next part, behind a tiny picture */
    memmove(v->head, body + v->size * (v->head_bytes > 0), v->head_bytes);
    if (!v->left)
        picture_read(v);
}

/* Take what is there; 0 when the stream has ended. */
static int read_all(struct viewer *v)
{
    static char dropped[1 << 16]; /* never written to */
    for (;;) {
        size_t room = HEAD_MAX - v->head_bytes;
        size_t wanted = v->left ? v->left : room < READ_AT_ONCE ? room : READ_AT_ONCE;
        ssize_t got = v->left ? recv(v->fd, dropped, wanted, MSG_TRUNC) : recv(v->fd, v->head + v->head_bytes, wanted, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return 1;
        if (got <= 0)
            return 0; /* also for a head that does not end: there is no room for more of it */
        if (v->left) {
            v->left -= got;
            if (!v->left)
                camera ? message_read(v) : picture_read(v);
        } else {
            v->head_bytes += got;
            camera ? parse_live(v) : parse(v);
        }
    }
}

static int dial(const char *host, const char *port, const char *path, int number)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
    struct timeval limit = { .tv_sec = 10 };
    char request[1024];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int length = snprintf(request, sizeof request, "GET %s", path);
    char *more = request + length;
    size_t room = sizeof request - length;
    if (camera)
        length += snprintf(more, room, "?client=%d-%d HTTP/1.1\r\nHost: %s:%s\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", getpid(), number, host, port);
    else
        length += snprintf(more, room, " HTTP/1.1\r\nHost: %s:%s\r\nAccept: */*\r\n\r\n", host, port);
    inet_pton(AF_INET, host, &address.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        fail("swarm: connect");
    if (send(fd, request, length, MSG_NOSIGNAL) != length)
        fail("swarm: send");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "use: swarm HOST PORT PATH VIEWERS [CAMERA]\n");
        return 1;
    }
    camera = argv[5]; /* NULL where there is none */
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sigaction on_end = { .sa_handler = end }; /* without SA_RESTART: epoll_wait is to return */
    sigaction(SIGTERM, &on_end, NULL);
    int count = atoi(argv[4]), poll = epoll_create1(0);
    struct viewer *viewers = calloc(count, sizeof *viewers);
    if (!viewers)
        fail("swarm");
    for (int i = 0; i < count; i++) {
        viewers[i].fd = dial(argv[1], argv[2], argv[3], i);
        viewers[i].number = i;
        viewers[i].next_ping_ns = now_ns(CLOCK_MONOTONIC) + PING_EVERY_NS * i / count; /* each at a time of its own */
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &viewers[i] };
        epoll_ctl(poll, EPOLL_CTL_ADD, viewers[i].fd, &event);
    }
    while (!ending) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct viewer *v = events[i].data.ptr;
            if (!read_all(v))
                close(v->fd);
        }
    }
    return fflush(stdout) ? 1 : 0;
}
