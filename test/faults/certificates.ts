// Certificates for a broker and its clients, made for one test: an authority of its own, good ones and bad ones.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import forge from 'node-forge';

const DAY_MS = 24 * 3600 * 1000;
const IP_ADDRESS = 7;
const DNS_NAME = 2;

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  readonly name: string;
  readonly ips?: readonly string[];
  readonly hosts?: readonly string[];
  /** In days from now; from yesterday to tomorrow unless given. */
  readonly valid?: readonly [from: number, to: number];
}

export class Authority {
  readonly cert: string;
  readonly #key: forge.pki.rsa.PrivateKey;
  readonly #subject: forge.pki.CertificateField[];

  constructor(name: string) {
    const { publicKey, privateKey } = keyPair();
    this.#key = privateKey;
    this.#subject = [{ name: 'commonName', value: name }];
    const extensions = [
      { name: 'basicConstraints', cA: true },
      { name: 'keyUsage', keyCertSign: true },
    ];
    this.cert = this.#sign(publicKey, this.#subject, [-1, 1], extensions);
  }

  issue({ name, ips = [], hosts = [], valid = [-1, 1] }: CertificateOptions): Certificate {
    const { publicKey, privateKey } = keyPair();
    const altNames = [
      ...ips.map((ip) => ({ type: IP_ADDRESS, ip })),
      ...hosts.map((value) => ({ type: DNS_NAME, value })),
    ];
    const extensions = altNames.length === 0 ? [] : [{ name: 'subjectAltName', altNames }];
    const cert = this.#sign(publicKey, [{ name: 'commonName', value: name }], valid, extensions);
    // PKCS#8, which Java reads.
    const key = forge.pki.wrapRsaPrivateKey(forge.pki.privateKeyToAsn1(privateKey));
    return { cert, key: forge.pki.privateKeyInfoToPem(key) };
  }

  #sign(
    publicKey: forge.pki.rsa.PublicKey,
    subject: forge.pki.CertificateField[],
    [from, to]: readonly [number, number],
    extensions: object[],
  ): string {
    const certificate = forge.pki.createCertificate();
    certificate.publicKey = publicKey;
    // Positive, as the first bit would be a sign.
    certificate.serialNumber = `01${randomBytes(8).toString('hex')}`;
    certificate.validity.notBefore = new Date(Date.now() + from * DAY_MS);
    certificate.validity.notAfter = new Date(Date.now() + to * DAY_MS);
    certificate.setSubject(subject);
    certificate.setIssuer(this.#subject);
    certificate.setExtensions(extensions);
    certificate.sign(this.#key, forge.md.sha256.create());
    return forge.pki.certificateToPem(certificate);
  }
}

/** Made by Node, which takes a tenth of a second; in JavaScript it would be seconds. */
function keyPair(): forge.pki.rsa.KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  return { publicKey: forge.pki.publicKeyFromPem(publicKey), privateKey: forge.pki.privateKeyFromPem(privateKey) };
}
