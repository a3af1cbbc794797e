// The reference server with the settings of its environment, until SIGTERM.
import { PDS, envToCfg, envToSecrets, readEnv } from '@atproto/pds'

const env = readEnv()
const pds = await PDS.create(envToCfg(env), envToSecrets(env))
await pds.start()

process.once('SIGTERM', async () => {
  await pds.destroy()
  process.exit(0)
})
