# SPDX-License-Identifier: GPL-2.0-only
"""servers.py - other people's programs as backends, in the foreground, with files of their own"""
import contextlib
import http.server
import os
import socketserver
import subprocess
import threading

from .net import until

SSHD = "/usr/sbin/sshd"
NGINX = "/usr/sbin/nginx"


def _write(net, name, text):
    path = os.path.join(net.dir, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def _start(net, space, name, at, *argv):
    """Run it until the network is closed. Return: when something listens at (address, port)."""
    log = os.path.join(net.dir, f"{name}.log")
    with open(log, "w") as file:
        process = space.popen(*argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def listens():
        assert process.poll() is None, open(log).read()
        with contextlib.suppress(OSError), space.socket(at[0]) as sock:
            sock.connect(at)
            return True

    until(listens, f"{name} listens")
    return process


def haproxy(net, space, text, at):
    _start(net, space, "haproxy", at, "haproxy", "-db", "-f", _write(net, "haproxy.cfg", text))


def nginx(net, space, text, at):
    """text: what stands in its http block"""
    config = _write(net, "nginx.conf", f"""
        daemon off;
        master_process off;
        pid {net.dir}/nginx.pid;
        error_log stderr;
        events {{ worker_connections 512; }}
        http {{
            client_body_temp_path {net.dir}/nginx-body;
            proxy_temp_path {net.dir}/nginx-proxy;
            fastcgi_temp_path {net.dir}/nginx-fastcgi;
            uwsgi_temp_path {net.dir}/nginx-uwsgi;
            scgi_temp_path {net.dir}/nginx-scgi;
            client_max_body_size 0;
            types {{ text/html html; }}
            {text}
        }}
        """)
    _start(net, space, "nginx", at, NGINX, "-e", "stderr", "-c", config)


class Sshd:
    """sshd at (address, port), with a host key and a user's key of its own.

    client is the configuration for whoever logs in there as root: ssh -F.
    """

    def __init__(self, net, space, at):
        host, user = (self._key(net, name) for name in ("ssh_host_key", "ssh_user_key"))
        self.client = _write(net, "ssh_config", f"""
            User root
            IdentityFile {user}
            IdentitiesOnly yes
            UserKnownHostsFile {net.dir}/known_hosts
            GlobalKnownHostsFile /dev/null
            StrictHostKeyChecking yes
            BatchMode yes
            Ciphers aes128-gcm@openssh.com
            KexAlgorithms curve25519-sha256
            """)
        with open(f"{host}.pub") as file:
            _write(net, "known_hosts", "* " + file.read())
        config = _write(net, "sshd_config", f"""
            ListenAddress {at[0]}
            Port {at[1]}
            HostKey {host}
            AuthorizedKeysFile {user}.pub
            PidFile none
            UsePAM {"yes" if self._is_locked("root") else "no"}
            StrictModes no
            PermitRootLogin prohibit-password
            AllowTcpForwarding yes
            SetEnv HOME={net.dir}
            Subsystem sftp internal-sftp
            """)
        os.makedirs("/run/sshd", exist_ok=True)  # its sandbox, which the package's service makes
        _start(net, space, "sshd", at, SSHD, "-D", "-e", "-f", config)

    @staticmethod
    def _key(net, name):
        path = os.path.join(net.dir, name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return path

    @staticmethod
    def _is_locked(user):
        """Without PAM sshd takes no user whose password is locked, not even with a key."""
        with open("/etc/shadow") as file:
            return any(line.startswith(f"{user}:!") for line in file)


class GitHttp(http.server.ThreadingHTTPServer):
    """git's smart HTTP protocol: `git http-backend`, a CGI program (RFC 3875), for what is below `root`.

    Bodies must come with a length, as from a reverse proxy.
    """

    def __init__(self, space, address, port, root):
        self.root, self.space = root, space
        with space.enter():
            super().__init__((address, port), _GitHandler)
        space.closers.append(self.close)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_bind(self):
        """Without asking what the name of this address may be, as HTTPServer does: nobody answers in a namespace."""
        socketserver.TCPServer.server_bind(self)

    def close(self):
        self.shutdown()
        self.server_close()


class _GitHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802: the name is the library's
        path, _, query = self.path.partition("?")
        head = {"REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
                "REMOTE_ADDR": self.client_address[0], "GIT_HTTP_EXPORT_ALL": "1", "GIT_PROJECT_ROOT": self.server.root}
        for name in ("Content-Type", "Content-Length"):
            head[name.upper().replace("-", "_")] = self.headers.get(name, "")
        for name in ("Content-Encoding", "Git-Protocol"):
            if name in self.headers:
                head["HTTP_" + name.upper().replace("-", "_")] = self.headers[name]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env={**os.environ, **head})
        fields, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in fields.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *_):
        pass
