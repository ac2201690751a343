//! What goes wrong in TLS, against real servers: each error says which check failed, for which name, and what to do.

mod tls_servers;
