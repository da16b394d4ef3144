//! Certificate signing requests: made by nodes, checked before a CA signs them.
//!
//! Source: RFC 2986; kubernetes v1.36 client-go/util/certificate/csr/csr.go.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::ca::{alt_names, name};
use crate::key::pem;
use crate::{KeyPair, PkiError, Profile, San, Subject, der, read};

const WHAT: &str = "certificate request";

/// A request whose signature was verified.
#[derive(Clone, Debug)]
pub struct Csr {
    subject: Subject,
    raw_subject: Vec<u8>,
    spki: Vec<u8>,
    sans: Vec<San>,
    foreign_sans: bool,
}

impl Csr {
    /// Parses PEM and checks that the requester holds the key.
    pub fn parse(text: &str) -> Result<Self, PkiError> {
        let wrong = |reason: String| PkiError::parse(WHAT, reason);
        let (_, section) = x509_parser::pem::parse_x509_pem(text.as_bytes())
            .map_err(|error| wrong(error.to_string()))?;
        if section.label != "CERTIFICATE REQUEST" && section.label != "NEW CERTIFICATE REQUEST" {
            return Err(wrong(format!("PEM block is of type {:?}", section.label)));
        }
        let (_, request) = X509CertificationRequest::from_der(&section.contents)
            .map_err(|error| wrong(error.to_string()))?;
        request
            .verify_signature()
            .map_err(|_| PkiError::Signature { what: WHAT })?;
        let info = &request.certification_request_info;
        let (mut sans, mut foreign_sans) = (Vec::new(), false);
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else {
                continue;
            };
            for one in &names.general_names {
                match one {
                    GeneralName::DNSName(name) => sans.push(San::Dns((*name).to_owned())),
                    GeneralName::IPAddress(bytes) => match read::address(bytes) {
                        Some(address) => sans.push(San::Ip(address)),
                        None => return Err(wrong("malformed address".to_owned())),
                    },
                    _ => foreign_sans = true,
                }
            }
        }
        Ok(Self {
            subject: read::subject_of(&info.subject)?,
            raw_subject: info.subject.as_raw().to_vec(),
            spki: info.subject_pki.raw.to_vec(),
            sans,
            foreign_sans,
        })
    }

    /// A request in PEM for `key` with the subject and names of `profile`.
    pub fn create(profile: &Profile, key: &KeyPair) -> Result<String, PkiError> {
        let mut attributes = Vec::new();
        if !profile.sans.is_empty() {
            let extension = der::sequence(&[
                &der::oid(&[2, 5, 29, 17]),
                &der::octet_string(&alt_names(&profile.sans)),
            ]);
            let extensions = der::set(&[&der::sequence(&[&extension])]);
            let extension_request = der::oid(&[1, 2, 840, 113_549, 1, 9, 14]);
            attributes = der::sequence(&[&extension_request, &extensions]);
        }
        let body = der::sequence(&[
            &der::integer(&[0]),
            &name(&profile.cn, &profile.organizations),
            key.spki(),
            &der::explicit(0, &attributes),
        ]);
        let signature = key.sign_asn1(&body)?;
        let request = der::sequence(&[
            &body,
            &key.signature_algorithm(),
            &der::bit_string(&signature),
        ]);
        Ok(pem("CERTIFICATE REQUEST", &request))
    }

    /// Common name and organizations.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// DNS names and addresses that were asked for.
    pub fn sans(&self) -> &[San] {
        &self.sans
    }

    /// Whether mail addresses or URIs were asked for too; they are never signed.
    pub fn has_foreign_sans(&self) -> bool {
        self.foreign_sans
    }

    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(crate) fn raw_subject(&self) -> &[u8] {
        &self.raw_subject
    }
}
