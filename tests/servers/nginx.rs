//! nginx as a relay with one listener and one server (its module `stream`), over TCP.

use std::fs;
use std::process::{Child, Command};

use tempfile::TempDir;

use super::haproxy::{await_text, serve};
use super::on_a_free_port;

/// Where Debian has it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

pub(crate) struct Nginx {
    child: Child,
    directory: TempDir,
    pub(crate) address: String,
}

impl Nginx {
    /// Listens with these options of `listen` (`proxy_protocol`, for example), with more directives. Returns when it serves. Its
    /// log has a line `client=ADDRESS:PORT` per connection that ended, with what an accepted header says.
    pub(crate) fn start(listen: &str, directives: &str) -> Self {
        on_a_free_port(|port| {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().display();
            let module =
                if fs::exists(MODULE).unwrap() { format!("load_module {MODULE};\n") } else { String::new() };
            let config = format!(
                "{module}daemon off;\nmaster_process off;\npid {path}/pid;\nerror_log stderr error;\nevents {{}}\n\
                 http {{\n access_log off;\n client_body_temp_path {path}/1;\n proxy_temp_path {path}/2;\n \
                 fastcgi_temp_path {path}/3;\n uwsgi_temp_path {path}/4;\n scgi_temp_path {path}/5;\n \
                 server {{ listen unix:{path}/ready; return 200; }}\n}}\n\
                 stream {{\n log_format client 'client=$proxy_protocol_addr:$proxy_protocol_port';\n \
                 access_log {path}/access client;\n \
                 server {{ listen 127.0.0.1:{port} {listen}; {directives} }}\n}}\n"
            );
            let file = directory.path().join("nginx.conf");
            fs::write(&file, config).unwrap();
            let mut command = Command::new("nginx");
            command.arg("-p").arg(directory.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
            let child = serve(command, &directory.path().join("ready"), &directory.path().join("log"))?;
            Some(Self { child, directory, address: format!("127.0.0.1:{port}") })
        })
    }

    /// Returns when a line of the log has this text.
    pub(crate) fn await_log(&self, text: &str) {
        await_text(&self.directory.path().join("access"), text);
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
