//! Each proxy, run from its example with nothing replaced but addresses.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::yaml;
use crate::support::port::reserved_address;
use crate::support::tool;

/// The proxies of the examples, some in two versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Caddy,
    DistroCaddy,
    Envoy,
    Haproxy,
    Nginx,
    DistroNginx,
    Traefik,
}

/// What stands in the examples for addresses.
const LISTEN: &str = "0.0.0.0";
const PORT: &str = "8080";
const HOST: &str = "app.example.com";
const FOREPOST: &str = "forepost:9000";
const FOREPOST_OF_ENVOY: &str = "address: forepost, port_value: 9000";
const WHOAMI: &str = "whoami:80";
const WHOAMI_OF_ENVOY: &str = "address: whoami, port_value: 80";

/// The addresses of a test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses<'a> {
    pub(crate) proxy: SocketAddr,
    /// One or several, which are asked in turns.
    pub(crate) forepost: &'a [SocketAddr],
    pub(crate) application: SocketAddr,
}

/// Traefik asks one address about requests, so several foreposts stand behind a listener of its own.
const TRAEFIK_INNER: &str = "    inner:
      entryPoints: [inner]
      rule: \"PathPrefix(`/outpost.goauthentik.io/auth/`)\"
      service: forepost
      middlewares: [again]

  middlewares:
    again:
      retry:
        attempts: 2
";

/// What surrounds `conf.d/*.conf` in nginx's own configuration.
const NGINX: &str = "\
daemon off;
master_process off;
pid FOLDER/pid;
error_log stderr warn;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    include FOLDER/forepost.conf;
}
";

impl Proxy {
    /// Puts the configuration into `folder`, and says how the proxy is started with it.
    pub(crate) fn prepare(self, folder: &Path, addresses: Addresses<'_>) -> Command {
        self.prepare_edited(folder, addresses, |_, text| text)
    }

    /// The same, after `edit` was given the name and the text of each file.
    pub(super) fn prepare_edited(
        self,
        folder: &Path,
        addresses: Addresses<'_>,
        edit: impl Fn(&str, String) -> String,
    ) -> Command {
        let place = |file: &str, placeholders: &[&str]| {
            let text = edit(file, self.example(file));
            fs::write(folder.join(file), addresses.put_into(&text, placeholders)).unwrap();
        };
        match self {
            Self::Nginx | Self::DistroNginx => {
                place("forepost.conf", &[LISTEN, PORT, HOST, FOREPOST, WHOAMI]);
                fs::write(folder.join("nginx.conf"), NGINX.replace("FOLDER", folder.to_str().unwrap())).unwrap();
                let mut command = tool::command(if self == Self::Nginx { "nginx" } else { "nginx-distro" });
                command.arg("-p").arg(folder).args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
                command
            }
            Self::Caddy | Self::DistroCaddy => {
                place("Caddyfile", &[LISTEN, PORT, HOST, FOREPOST, WHOAMI]);
                let mut command = tool::command(if self == Self::Caddy { "caddy" } else { "caddy-distro" });
                for variable in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
                    command.env(variable, folder);
                }
                command.env("CADDY_ADMIN", format!("unix/{}", folder.join("admin.sock").display()));
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
                command
            }
            Self::Traefik => {
                let flags = addresses.put_into(&self.traefik_flags().join("\n"), &[LISTEN, PORT]);
                let mut command = tool::command("traefik");
                command.args(flags.lines());
                if let [_, _, ..] = addresses.forepost {
                    let inner = reserved_address();
                    command.args(inner_flags(inner));
                    fs::write(folder.join("dynamic.yaml"), addresses.behind(inner, &self.example("dynamic.yaml")))
                        .unwrap();
                } else {
                    place("dynamic.yaml", &[HOST, FOREPOST, WHOAMI]);
                }
                command.arg(format!("--providers.file.filename={}", folder.join("dynamic.yaml").display()));
                command
            }
            Self::Envoy => {
                place("envoy.yaml", &[LISTEN, PORT, HOST, FOREPOST, FOREPOST_OF_ENVOY, WHOAMI_OF_ENVOY]);
                let mut command = tool::command("envoy");
                command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c"]);
                command.arg(folder.join("envoy.yaml"));
                command
            }
            Self::Haproxy => {
                place("haproxy.cfg", &[LISTEN, PORT, HOST, FOREPOST, WHOAMI]);
                place("forward-auth.lua", &[]);
                let mut command = tool::command("haproxy");
                command.args(["-db", "-f"]).arg(folder.join("haproxy.cfg"));
                command
            }
        }
    }

    /// A file of the example, with HTTP/2 without TLS as well; `other` is for those that want another listener.
    pub(super) fn add_http2(self, file: &str, text: String, other: SocketAddr) -> String {
        match self {
            Self::Nginx | Self::DistroNginx => ["", " default_server"].into_iter().fold(text, |text, which| {
                let listen = format!("listen {LISTEN}:{PORT}{which};\n");
                edited(&text, &listen, &format!("{listen}    listen {other} http2{which};\n"))
            }),
            Self::Caddy | Self::DistroCaddy => edited(&text, "\tservers {\n", "\tservers {\n\t\tprotocols h1 h2 h2c\n"),
            // These speak it anyway; Envoy lets a client that it turned away linger for a second.
            Self::Envoy if file == "envoy.yaml" => {
                edited(&text, "stat_prefix: web\n", "stat_prefix: web\n          delayed_close_timeout: 0.01s\n")
            }
            Self::Envoy | Self::Haproxy | Self::Traefik => text,
        }
    }

    pub(super) const fn has_another_listener(self) -> bool {
        matches!(self, Self::Nginx | Self::DistroNginx)
    }

    /// The folder of the example.
    pub(super) const fn example_name(self) -> &'static str {
        match self {
            Self::Caddy | Self::DistroCaddy => "caddy",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Nginx | Self::DistroNginx => "nginx",
            Self::Traefik => "traefik",
        }
    }

    /// The text of a file of the example.
    #[track_caller]
    pub(super) fn example(self, file: &str) -> String {
        let path = format!("{}/examples/{}/{file}", env!("CARGO_MANIFEST_DIR"), self.example_name());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Traefik's flags without those for Docker, which is not here.
    pub(super) fn traefik_flags(self) -> Vec<String> {
        let compose = yaml::parse(&self.example("compose.yaml"));
        let flags = compose["services"]["traefik"]["command"].as_array().unwrap().iter();
        let flags = flags.map(|flag| flag.as_str().unwrap().to_owned());
        flags.filter(|flag| !flag.starts_with("--providers.")).collect()
    }
}

/// Replaces what must be in a text.
#[track_caller]
pub(super) fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in {text}");
    text.replacen(from, to, 1)
}

/// What Traefik has to be told beside the usual to have a listener for questions.
pub(super) fn inner_flags(inner: SocketAddr) -> [String; 3] {
    [
        format!("--entryPoints.inner.address={inner}"),
        "--entryPoints.inner.forwardedHeaders.trustedIPs=127.0.0.1/32".to_owned(),
        "--entryPoints.inner.http.aliasHeadersStrategy=delete".to_owned(),
    ]
}

/// Traefik's routes, where questions go through `inner`.
pub(super) fn asking_itself(inner: SocketAddr, text: &str) -> String {
    let question = text.replace(&format!("\"http://{FOREPOST}/"), &format!("\"http://{inner}/"));
    question.replacen("\n  middlewares:\n", TRAEFIK_INNER, 1)
}

impl Addresses<'_> {
    /// Traefik's routes, where questions go to all foreposts through `inner`.
    fn behind(self, inner: SocketAddr, text: &str) -> String {
        let server = |address: &SocketAddr| format!("          - url: \"http://{address}\"\n");
        let servers: String = self.forepost.iter().map(server).collect();
        let text = asking_itself(inner, text).replace(&format!("          - url: \"http://{FOREPOST}\"\n"), &servers);
        assert!(text.contains(&servers) && text.contains("again") && !text.contains(FOREPOST), "{text}");
        self.put_into(&text, &[HOST, WHOAMI])
    }

    /// Replaces the placeholders; one that does not occur is a mistake.
    #[track_caller]
    fn put_into(self, text: &str, placeholders: &[&str]) -> String {
        let socket_of_envoy = |it: SocketAddr| format!("address: {}, port_value: {}", it.ip(), it.port());
        placeholders.iter().fold(text.to_owned(), |text, placeholder| {
            assert!(text.contains(placeholder), "{placeholder:?} is not in the example");
            let address = match *placeholder {
                LISTEN => self.proxy.ip().to_string(),
                PORT => self.proxy.port().to_string(),
                HOST => "app.localhost".to_owned(),
                // "server ADDRESS;", as nginx lists them.
                FOREPOST => self.forepost.iter().map(ToString::to_string).collect::<Vec<_>>().join("; server "),
                FOREPOST_OF_ENVOY => socket_of_envoy(self.forepost[0]),
                WHOAMI => self.application.to_string(),
                WHOAMI_OF_ENVOY => socket_of_envoy(self.application),
                other => panic!("unknown proxy {other}"),
            };
            text.replace(placeholder, &address)
        })
    }
}
