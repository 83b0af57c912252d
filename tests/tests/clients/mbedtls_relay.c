/* Bytes between standard streams and a TLS server, by mbedTLS: `HOST PORT CA_FILE SUITE`. Exits 0 when
 * the server has said close_notify, or when standard input ends, having said its own. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#define STDIN 0
#define STDOUT 1

static int failed(const char *what, int code) {
    char text[200];
    mbedtls_strerror(code, text, sizeof text);
    fprintf(stderr, "%s: -0x%04x %s\n", what, (unsigned)-code, text);
    return 1;
}

static int write_all(const unsigned char *bytes, size_t count) {
    while (count > 0) {
        ssize_t written = write(STDOUT, bytes, count);
        if (written < 0 && errno != EINTR) return -1;
        if (written > 0) {
            bytes += written;
            count -= (size_t)written;
        }
    }
    return 0;
}

static int send_all(mbedtls_ssl_context *ssl, const unsigned char *bytes, size_t count) {
    while (count > 0) {
        int sent = mbedtls_ssl_write(ssl, bytes, count);
        if (sent == MBEDTLS_ERR_SSL_WANT_READ || sent == MBEDTLS_ERR_SSL_WANT_WRITE) continue;
        if (sent < 0) return sent;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

int main(int count, char **words) {
    static unsigned char buffer[16384];
    mbedtls_net_context socket;
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config config;
    mbedtls_x509_crt ca;
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    int suites[2] = {0, 0};
    int code;

    if (count != 5) {
        fprintf(stderr, "usage: %s HOST PORT CA_FILE SUITE\n", words[0]);
        return 2;
    }
    mbedtls_net_init(&socket);
    mbedtls_ssl_init(&ssl);
    mbedtls_ssl_config_init(&config);
    mbedtls_x509_crt_init(&ca);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    if ((code = mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0)) != 0)
        return failed("seed", code);
    if ((code = mbedtls_x509_crt_parse_file(&ca, words[3])) != 0) return failed(words[3], code);
    suites[0] = mbedtls_ssl_get_ciphersuite_id(words[4]);
    if (suites[0] == 0) {
        fprintf(stderr, "no suite is called %s\n", words[4]);
        return 2;
    }
    code = mbedtls_net_connect(&socket, words[1], words[2], MBEDTLS_NET_PROTO_TCP);
    if (code != 0) return failed("connect", code);
    code = mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                       MBEDTLS_SSL_PRESET_DEFAULT);
    if (code != 0) return failed("configure", code);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&config, &ca, NULL);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_ciphersuites(&config, suites);
    if ((code = mbedtls_ssl_setup(&ssl, &config)) != 0) return failed("set up", code);
    if ((code = mbedtls_ssl_set_hostname(&ssl, "localhost")) != 0) return failed("name", code);
    mbedtls_ssl_set_bio(&ssl, &socket, mbedtls_net_send, mbedtls_net_recv, NULL);
    while ((code = mbedtls_ssl_handshake(&ssl)) != 0) {
        if (code != MBEDTLS_ERR_SSL_WANT_READ && code != MBEDTLS_ERR_SSL_WANT_WRITE)
            return failed("handshake", code);
    }
    fprintf(stderr, "%s %s\n", mbedtls_ssl_get_version(&ssl), mbedtls_ssl_get_ciphersuite(&ssl));
    if ((code = mbedtls_net_set_nonblock(&socket)) != 0) return failed("socket", code);
    for (;;) {
        struct pollfd both[2] = {{STDIN, POLLIN, 0}, {socket.fd, POLLIN, 0}};
        if (poll(both, 2, -1) < 0 && errno != EINTR) return 1;
        if (both[1].revents != 0) {
            while ((code = mbedtls_ssl_read(&ssl, buffer, sizeof buffer)) > 0) {
                if (write_all(buffer, (size_t)code) != 0) return 1;
            }
            if (code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
                fprintf(stderr, "close_notify\n");
                return 0;
            }
            if (code == 0) {
                fprintf(stderr, "ended without close_notify\n");
                return 1;
            }
            if (code != MBEDTLS_ERR_SSL_WANT_READ && code != MBEDTLS_ERR_SSL_WANT_WRITE)
                return failed("read", code);
        }
        if (both[0].revents != 0) {
            ssize_t typed = read(STDIN, buffer, sizeof buffer);
            if (typed <= 0) {
                mbedtls_ssl_close_notify(&ssl);
                return 0;
            }
            if ((code = send_all(&ssl, buffer, (size_t)typed)) != 0) return failed("write", code);
        }
    }
}
