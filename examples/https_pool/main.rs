//! A pool of HTTPS connections, each of which serves one request after the other.
//!
//! `cargo run --features https --example https_pool`

mod server;

use http::Request;
use http_body_util::BodyExt;
use millpond::connection::Pool;
use millpond::connection::https::{HttpsConfig, HttpsConnection, HttpsConnectionManager, RequestBody};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // For a public server, `HttpsConnectionManager::new("https://example.com")` is enough.
    let (url, tls) = server::start().await?;
    let manager = HttpsConnectionManager::with_config(&url, HttpsConfig::default().tls(Some(tls)))?;
    let pool = Pool::builder().max_size(4).build(manager).await?;

    for path in ["/wheat", "/rye"] {
        let request = Request::get(path).body(RequestBody::empty())?;
        let response = HttpsConnection::send(pool.get().await?, request).await?;
        let page = response.into_body().collect().await?; // at its end, the connection is back in the pool
        println!("{}", String::from_utf8_lossy(&page.to_bytes()));
    }
    println!("{}", pool.state());
    pool.close().await;
    Ok(())
}
