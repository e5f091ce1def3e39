/* Clients that behave badly, all in one thread, as fast as the computer allows.
 *
 *     flood [OPTIONS] HOST PORT CLIENTS OPENING LOOP
 *
 * Each client connects, sends the file OPENING once, then the file LOOP over and over. A client whose connection has
 * ended connects again. Writes "CONNECTIONS LOOP-BYTES" as of then to stdout when SIGUSR1 comes. Runs until it is
 * terminated, at most a minute.
 *
 *     -a COUNT  wait for this many answers after each LOOP
 *     -p BYTES  send this many bytes at a time: 1 is one byte per packet
 *     -r RATE   make this many connections a second, each in place of the oldest one
 *     -c        close the connection when everything has been sent
 *     -d        never read
 *     -u        wait for the answer to OPENING before sending LOOP
 *
 * "#######" in OPENING stands for a number that no other connection has.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 8192, SENDS_AT_ONCE = 16, RETRY_MS = 10, LONGEST_S = 60 };

struct bytes {
    char *data;
    size_t size;
};

struct client {
    int fd; /* -1 while there is no connection */
    int connecting, looping;
    long long retry_ms; /* when to connect again, if fd is -1 */
    struct bytes opening; /* a copy of its own, for the number in it */
    size_t sent; /* of OPENING or LOOP, whichever is being sent */
    long due; /* answers to wait for */
    size_t body; /* bytes of an answer's body still to come */
    char head[HEAD_MAX + 1];
    size_t head_bytes;
};

static struct sockaddr_in server = { .sin_family = AF_INET };
static struct bytes opening, loop;
static size_t number_at = -1; /* where the number is in OPENING */
static long wanted_answers, piece, rate, closes, deaf, upgrades;
static unsigned long long connections, loop_bytes;
static volatile sig_atomic_t ending, asked;

static void end(int number) { (void)number; ending = 1; }

static void ask(int number) { (void)number; asked = 1; }

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static struct bytes contents(const char *name)
{
    FILE *file = fopen(name, "rb");
    struct bytes b = { 0 };
    if (!file || fseek(file, 0, SEEK_END))
        fail(name);
    b.size = ftell(file);
    b.data = malloc(b.size + 1);
    rewind(file);
    if (!b.data || fread(b.data, 1, b.size, file) != b.size)
        fail(name);
    fclose(file);
    return b;
}

static void hang_up(struct client *c, long long retry_ms)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->retry_ms = retry_ms;
}

static void dial(struct client *c)
{
    int on = 1;
    hang_up(c, now_ms() + RETRY_MS);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        fail("flood: socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->looping = c->due = c->sent = c->body = c->head_bytes = 0;
    c->connecting = 1;
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) {
        hang_up(c, now_ms() + RETRY_MS);
        return;
    }
    connections++;
    if (number_at != (size_t)-1) {
        char digits[8];
        snprintf(digits, sizeof digits, "%07llu", connections % 10000000);
        memcpy(c->opening.data + number_at, digits, 7);
    }
}

/* 1 when there is something else to send now. */
static int next_buffer(struct client *c)
{
    c->sent = 0;
    if (!c->looping) {
        c->looping = 1;
        c->due = upgrades;
    } else {
        c->due = wanted_answers;
    }
    if (closes) {
        hang_up(c, 0);
        return 0;
    }
    return !c->due && loop.size;
}

static void send_some(struct client *c)
{
    for (int i = 0; i < SENDS_AT_ONCE; i++) {
        const struct bytes *b = c->looping ? &loop : &c->opening;
        if (c->sent == b->size && !next_buffer(c))
            return;
        b = c->looping ? &loop : &c->opening;
        size_t size = b->size - c->sent;
        if (piece && size > (size_t)piece)
            size = piece;
        ssize_t sent = send(c->fd, b->data + c->sent, size, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                hang_up(c, 0);
            return;
        }
        c->sent += sent;
        if (c->looping)
            loop_bytes += sent;
        if (c->sent == b->size && !next_buffer(c))
            return;
    }
}

/* Take notice of the answers whose heads have come. Bodies need a Content-Length. */
static void parse(struct client *c)
{
    char *body;
    while (!c->body && (c->head[c->head_bytes] = 0, body = strstr(c->head, "\r\n\r\n"))) {
        char *length = strcasestr(c->head, "\r\nContent-Length:");
        size_t have = c->head_bytes - (body + 4 - c->head);
        size_t size = length && length < body ? strtoul(length + 17, NULL, 10) : 0;
        size_t taken = size < have ? size : have;
        c->body = size - taken;
        c->head_bytes = have - taken;
        memmove(c->head, body + 4 + taken, c->head_bytes);
        if (c->due)
            c->due--;
    }
}

static void read_some(struct client *c)
{
    static char dropped[1 << 20]; /* never written to */
    int counting = wanted_answers || (upgrades && c->due);
    for (int i = 0; i < SENDS_AT_ONCE; i++) {
        ssize_t got;
        if (counting && !c->body)
            got = recv(c->fd, c->head + c->head_bytes, HEAD_MAX - c->head_bytes, 0);
        else
            got = recv(c->fd, dropped, counting ? c->body : sizeof dropped, MSG_TRUNC);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            hang_up(c, 0);
            return;
        }
        if (!counting)
            continue;
        if (c->body) {
            c->body -= got;
        } else {
            c->head_bytes += got;
            parse(c);
            counting = wanted_answers || (upgrades && c->due);
        }
    }
}

static int wants_to_send(const struct client *c)
{
    return c->connecting || (!c->due && (!c->looping || loop.size));
}

static void attend(struct client *c, int events)
{
    if (c->connecting && events & (POLLOUT | POLLERR | POLLHUP)) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        c->connecting = 0;
        if (error) {
            hang_up(c, now_ms() + RETRY_MS);
            return;
        }
    }
    if (events & (POLLIN | POLLHUP | POLLERR) && !deaf)
        read_some(c);
    else if (events & (POLLHUP | POLLERR))
        hang_up(c, 0);
    if (c->fd >= 0 && events & POLLOUT && wants_to_send(c))
        send_some(c);
}

/* Connect whoever has no connection, or, at a fixed rate, one after the other. Returns how long poll() may wait. */
static int connect_some(struct client *clients, int count, long long began_ms)
{
    int pause_ms = 100;
    long long now = now_ms();
    if (rate) {
        static unsigned long long tries;
        for (; tries < (unsigned long long)((now - began_ms) * rate / 1000); tries++)
            dial(&clients[tries % count]);
        return 1;
    }
    for (int i = 0; i < count; i++)
        if (clients[i].fd < 0) {
            if (clients[i].retry_ms <= now)
                dial(&clients[i]);
            pause_ms = 1;
        }
    return pause_ms;
}

int main(int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "a:p:r:cdu")) != -1;)
        switch (option) {
        case 'a': wanted_answers = atol(optarg); break;
        case 'p': piece = atol(optarg); break;
        case 'r': rate = atol(optarg); break;
        case 'c': closes = 1; break;
        case 'd': deaf = 1; break;
        case 'u': upgrades = 1; break;
        default: return 1;
        }
    if (argc - optind != 5 || !inet_aton(argv[optind], &server.sin_addr)) {
        fprintf(stderr, "use: flood [-a COUNT] [-p BYTES] [-r RATE] [-cdu] HOST PORT CLIENTS OPENING LOOP\n");
        return 1;
    }
    server.sin_port = htons(atoi(argv[optind + 1]));
    int count = atoi(argv[optind + 2]);
    opening = contents(argv[optind + 3]);
    loop = contents(argv[optind + 4]);
    char *number = memmem(opening.data, opening.size, "#######", 7);
    if (number)
        number_at = number - opening.data;
    struct sigaction on_end = { .sa_handler = end }; /* without SA_RESTART, so that poll() returns */
    sigaction(SIGTERM, &on_end, NULL);
    sigaction(SIGALRM, &on_end, NULL);
    sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = ask }, NULL);
    alarm(LONGEST_S);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct client *clients = calloc(count, sizeof *clients);
    struct pollfd *polled = calloc(count, sizeof *polled);
    if (!clients || !polled)
        fail("flood");
    for (int i = 0; i < count; i++) {
        clients[i].fd = -1;
        clients[i].opening = opening;
        if (number && !(clients[i].opening.data = malloc(opening.size + 1)))
            fail("flood");
        if (number)
            memcpy(clients[i].opening.data, opening.data, opening.size);
    }
    long long began_ms = now_ms();
    while (!ending) {
        if (asked) {
            asked = 0;
            printf("%llu %llu\n", connections, loop_bytes);
            fflush(stdout);
        }
        int pause_ms = connect_some(clients, count, began_ms);
        for (int i = 0; i < count; i++)
            polled[i] = (struct pollfd){
                clients[i].fd, (deaf ? 0 : POLLIN) | (clients[i].fd >= 0 && wants_to_send(&clients[i]) ? POLLOUT : 0), 0
            };
        if (poll(polled, count, pause_ms) <= 0)
            continue;
        for (int i = 0; i < count; i++)
            if (polled[i].fd >= 0 && polled[i].revents)
                attend(&clients[i], polled[i].revents);
    }
    return 0;
}
