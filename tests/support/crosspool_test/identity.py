"""A host's key and certificate without an agent, by the openssl program."""
import pathlib

from . import shell
from .api import Api


class Identity:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.key = self.directory / "host.key"
        self.certificate = self.directory / "host.pem"
        self.host = None
        shell.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out",
                  self.key)
        self.csr = self.make_csr()

    def make_csr(self):
        return shell.run("openssl", "req", "-new", "-key", self.key, "-subj", "/CN=whoever")

    def sign_with(self, ca_certificate, ca_key, *, host, days=2):
        """A certificate of the right form from any CA."""
        extensions = self.directory / "extensions"
        extensions.write_text(f"subjectAltName=URI:urn:crosspool:host:{host}\n"
                              "extendedKeyUsage=serverAuth,clientAuth\n")
        request = self.directory / "host.csr"
        request.write_text(self.csr)
        shell.run("openssl", "x509", "-req", "-in", request, "-CA", ca_certificate, "-CAkey",
                  ca_key, "-CAcreateserial", "-CAserial", self.directory / "serial", "-days", days,
                  "-extfile", extensions, "-out", self.certificate)

    def enrol(self, coordinator, token):
        answer = coordinator.api(None).post("/agent/v1/enrol", {"token": token, "csr": self.csr})
        self.host = answer["host"]
        self.certificate.write_text(answer["certificate"])
        return answer

    def api(self, coordinator, **options):
        return Api(coordinator.agent_url(), coordinator.ca_path,
                   identity=(self.certificate, self.key), **options)
