//! `gvproxy.yaml`: the configuration file that gvproxy reads since version 0.8.8.
//!
//! The keys are those of `GvproxyConfig` and `types.Configuration` in gvisor-tap-vsock. The file
//! is written for older versions, too, as a record of the bottle's network.

use crate::guard::{GATEWAY_MAC, GUEST_MAC, Mac};
use crate::plan::Plan;
use crate::stack::dialect::link_url;
use crate::wire::MTU;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// How much gvproxy logs.
    pub log_level: String,
    /// The sockets on which frames arrive.
    pub interfaces: Interfaces,
    /// The virtual network.
    pub stack: Stack,
}

/// The sockets on which frames arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interfaces {
    /// A `SOCK_SEQPACKET` socket with one frame in each packet.
    pub bess: String,
}

/// The virtual network. It has no `forwards`, so nothing on the host leads into the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// The link's MTU, in bytes.
    pub mtu: u16,
    /// The network, `A.B.C.D/24`.
    pub subnet: String,
    /// The virtual router's address.
    #[serde(rename = "gatewayIP")]
    pub gateway_ip: Ipv4Addr,
    /// The guest's address.
    #[serde(rename = "deviceIP")]
    pub device_ip: Ipv4Addr,
    /// The address of `proxy.internal`.
    #[serde(rename = "hostIP")]
    pub host_ip: Ipv4Addr,
    /// The virtual router's hardware address.
    #[serde(rename = "gatewayMacAddress")]
    pub gateway_mac_address: String,
    /// The zones that gvproxy answers for. The empty one catches every other name of type A.
    pub dns: Vec<Zone>,
    /// Maps the proxy address to the loopback of gvproxy's own network namespace, where only doors
    /// listen.
    pub nat: BTreeMap<Ipv4Addr, Ipv4Addr>,
    /// The addresses for which the virtual router answers ARP besides its own.
    #[serde(rename = "gatewayVirtualIPs")]
    pub gateway_virtual_ips: Vec<Ipv4Addr>,
    /// The guest's lease.
    #[serde(rename = "dhcpStaticLeases")]
    pub dhcp_static_leases: BTreeMap<Ipv4Addr, String>,
}

/// A DNS zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// The zone's name with its final dot, or nothing for the zone that catches all other names.
    pub name: String,
    /// Its records.
    #[serde(default)]
    pub records: Vec<Record>,
}

/// A DNS record of type A.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The name within its zone.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
}

/// A configuration that cannot be written, or text that cannot be read as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gvproxy.yaml: {0}")]
pub struct ConfigError(String);

impl Config {
    /// Describes the network of `plan`. Frames arrive on the socket `link`, a path as gvproxy sees it.
    pub fn for_plan(plan: &Plan, link: &str) -> Self {
        let subnet = plan.subnet;
        Self {
            log_level: "warning".to_string(),
            interfaces: Interfaces { bess: link_url(link) },
            stack: Stack {
                mtu: MTU,
                subnet: subnet.to_string(),
                gateway_ip: subnet.gateway(),
                device_ip: subnet.guest(),
                host_ip: subnet.proxy(),
                gateway_mac_address: mac_text(GATEWAY_MAC),
                dns: vec![
                    Zone {
                        name: "internal.".to_string(),
                        records: vec![Record { name: "proxy".to_string(), ip: subnet.proxy() }],
                    },
                    Zone { name: String::new(), records: Vec::new() },
                ],
                nat: BTreeMap::from([(subnet.proxy(), Ipv4Addr::LOCALHOST)]),
                gateway_virtual_ips: vec![subnet.proxy()],
                dhcp_static_leases: BTreeMap::from([(subnet.guest(), mac_text(GUEST_MAC))]),
            },
        }
    }

    /// Returns the file's text. Equal configurations give the same text, byte for byte.
    ///
    /// # Errors
    /// Returns an error if the format cannot hold a value. It can hold all that [`Config::for_plan`]
    /// makes.
    pub fn render(&self) -> Result<String, ConfigError> {
        let body =
            serde_saphyr::to_string_with_options(self, options()).map_err(|e| ConfigError(e.to_string()))?;
        Ok(format!("# Written by bottle. Changes are lost at the next start.\n{body}"))
    }

    /// Reads a configuration that bottle wrote.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if the text is not YAML or has an unknown key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        serde_saphyr::from_str(text).map_err(|e| ConfigError(e.to_string()))
    }
}

/// Turns block scalars off. In a text such as "\n\t " the indentation that they need cannot be told from
/// the text itself; the fuzzer found one that was read back as another.
fn options() -> serde_saphyr::SerializerOptions {
    serde_saphyr::ser_options! { prefer_block_scalars: false, folded_wrap_chars: usize::MAX }
}

fn mac_text([a, b, c, d, e, f]: Mac) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
