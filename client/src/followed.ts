// Whether a client goes where a server sends it, and where that is. Pure; must not know why or as whom.

const ADDRESS_CHARS_MAX = 300;

/**
 * `address`: scheme and host, as `elsewhere` has it; the path is that of `from`, the node which says so. null: not to be followed:
 * no address of a WebSocket, or one where a token that was encrypted until now would not be.
 */
export function followed(address: string | null, from: string): string | null {
  const [there, here] = [address !== null && address.length <= ADDRESS_CHARS_MAX ? parsed(address) : null, parsed(from)];
  if (there === null || here === null) return null;
  const isAccepted = there.protocol === "wss:" || (there.protocol === "ws:" && here.protocol === "ws:");
  if (!isAccepted || there.username !== "" || there.password !== "" || there.search !== "" || there.hash !== "") return null;
  if (there.pathname === "/") there.pathname = here.pathname;
  return there.href;
}

function parsed(address: string): URL | null {
  try {
    return new URL(address);
  } catch {
    return null;
  }
}
