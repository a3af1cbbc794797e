// The reference server, until SIGTERM, as the benchmark and the end-to-end tests want it: easy to sign up to, without
// limits of rate, and with nothing beyond this machine.
//
// The environment says where it listens (PDS_PORT), which PLC directory it uses (PDS_DID_PLC_URL) and which folder is its
// own (PDS_DATA_DIRECTORY); it may also set anything else.
import { join } from 'node:path'

const file = (name) => join(process.env.PDS_DATA_DIRECTORY, name)
const settings = {
  LOG_DESTINATION: file('request.log'),
  LOG_ENABLED: 'true',
  PDS_ADMIN_PASSWORD: 'reference-admin',
  PDS_BLOBSTORE_DISK_LOCATION: file('blobs'),
  PDS_BSKY_APP_VIEW_DID: 'did:web:localhost',
  PDS_BSKY_APP_VIEW_URL: 'http://localhost:1',
  PDS_DEV_MODE: 'true',
  PDS_DISABLE_SSRF_PROTECTION: 'true',
  PDS_HOSTNAME: 'localhost',
  PDS_INVITE_REQUIRED: 'false',
  PDS_JWT_SECRET: 'reference-secret',
  // A key for the tests of this machine only.
  PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX: '3ee68ca654ca4b26e8a4ff8a1e3a9d8a1e3a9d8a1e3a9d8a1e3a9d8a1e3a9d8a',
  PDS_RATE_LIMITS_ENABLED: 'false',
}
process.env = { ...settings, ...process.env }

// Only now: its logger reads the environment when it is loaded.
const { PDS, envToCfg, envToSecrets, readEnv } = await import('@atproto/pds')
const env = readEnv()
const pds = await PDS.create(envToCfg(env), envToSecrets(env))
// It looks DIDs up over https only, whatever it is told; a directory on this machine has no certificate.
for (const resolver of pds.ctx.idResolver.did.methods.values()) resolver.fetch = globalThis.fetch
await pds.start()

process.once('SIGTERM', async () => {
  await pds.destroy()
  process.exit(0)
})
